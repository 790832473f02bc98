#include "runtimes/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/text.h"
#include "runtimes/runtime.h"

namespace tidemill::runtimes {
namespace {

constexpr const char* kFileName = "libonnxruntime.so.1.32.0";
constexpr const char* kRemedy =
    "Set runtimes.library to the file libonnxruntime.so of version 1.24 or later, as tools/setup fetches it.";

// Where the library is looked for when no setting names it: beside the program's lib folder (as installed), in deps/lib
// beside the program (as built), then where it was at build time.
std::filesystem::path find_library() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    for (const auto& folder : {program.parent_path().parent_path() / "lib", program.parent_path() / "deps" / "lib"}) {
      if (std::filesystem::exists(folder / kFileName, error)) return folder / kFileName;
    }
  }
  return TIDEMILL_ORT_LIBRARY;
}

}  // namespace

Result<std::shared_ptr<const Library>> Library::open(const std::filesystem::path& wanted) {
  const std::filesystem::path file = wanted.empty() ? find_library() : wanted;
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps it per thread
    return fail(Code::kUnavailable, "runtimes.no_library",
                fmt::format("ONNX Runtime cannot be loaded: {}.", why == nullptr ? "unknown reason" : why), kRemedy);
  }
  using GetBase = const OrtApiBase*(ORT_API_CALL*)();
  const auto get_base = reinterpret_cast<GetBase>(dlsym(handle, "OrtGetApiBase"));
  if (get_base == nullptr) {
    return fail(Code::kUnavailable, "runtimes.no_library",
                fmt::format("'{}' is not ONNX Runtime: it has no OrtGetApiBase.", file.string()), kRemedy);
  }
  std::shared_ptr<Library> library(new Library(file));
  TM_CHECK(library->start(*get_base()));
  return library;
}

Result<void> Library::start(const OrtApiBase& base) {
  version_ = base.GetVersionString();
  api_ = base.GetApi(kApiVersion);
  if (api_ == nullptr) {
    return fail(Code::kUnavailable, "runtimes.no_library",
                fmt::format("ONNX Runtime {} does not know API version {}.", version_, kApiVersion), kRemedy);
  }
  const auto must = [&](OrtStatus* status) {
    return check(status, Code::kUnavailable, "runtimes.no_library", "ONNX Runtime does not start");
  };
  TM_CHECK(must(api_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "tidemill", &env_)));
  TM_CHECK(must(api_->DisableTelemetryEvents(env_)));
  TM_CHECK(must(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_)));
  return must(api_->GetAllocatorWithDefaultOptions(&allocator_));
}

Library::~Library() {
  if (memory_ != nullptr) api_->ReleaseMemoryInfo(memory_);
  if (env_ != nullptr) api_->ReleaseEnv(env_);
}

Result<void> Library::check(OrtStatus* status, Code code, std::string_view reason, std::string_view what) const {
  if (status == nullptr) return {};
  const std::string words = without_folders(api_->GetErrorMessage(status));  // of the machine it was built on
  api_->ReleaseStatus(status);
  return fail(
      code, std::string(reason), fmt::format("{}: {}.", what, words),
      code == Code::kInvalidArgument ? "Try the file with the Python package onnxruntime, and export it anew." : "");
}

}  // namespace tidemill::runtimes
