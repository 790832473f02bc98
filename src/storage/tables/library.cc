#include "storage/tables/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace tidemill::tables {
namespace {

constexpr const char* kRemedy =
    "Set tables.library to the file libduckdb.so of version 1.5, as tools/setup fetches it.";

}  // namespace

Result<std::shared_ptr<const Library>> Library::open(const std::filesystem::path& file) {
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps it per thread
    return fail(Code::kUnavailable, "tables.no_library",
                fmt::format("DuckDB cannot be loaded: {}.", why == nullptr ? "unknown reason" : why), kRemedy);
  }
  std::shared_ptr<Library> library(new Library);
  const char* missing = nullptr;
#define TM_DUCKDB_LOAD(name)                                                                    \
  library->name = reinterpret_cast<decltype(&::duckdb_##name)>(dlsym(handle, "duckdb_" #name)); \
  if (library->name == nullptr) missing = "duckdb_" #name;
  TM_DUCKDB_FUNCTIONS(TM_DUCKDB_LOAD)
#undef TM_DUCKDB_LOAD
  if (missing != nullptr) {
    return fail(Code::kUnavailable, "tables.no_library",
                fmt::format("'{}' is not a DuckDB that fits: it has no {}.", file.string(), missing), kRemedy);
  }
  return library;
}

std::vector<std::filesystem::path> library_candidates() {
  std::vector<std::filesystem::path> candidates;
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    candidates.push_back(program.parent_path().parent_path() / "lib" / "libduckdb.so");
    candidates.push_back(program.parent_path() / "deps" / "lib" / "libduckdb.so");
  }
  candidates.emplace_back(TIDEMILL_DUCKDB_LIBRARY);
  return candidates;
}

}  // namespace tidemill::tables
