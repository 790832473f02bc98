// The C API of ONNX Runtime with C++ ownership; private to this room.
#pragma once

#include <onnxruntime_c_api.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace tidemill::runtimes {

// The opened library with its one environment. Never unloaded: threads that it has touched keep destructors of its own.
// Immutable: any thread.
class Library {
 public:
  [[nodiscard]] static Result<std::shared_ptr<const Library>> open(const std::filesystem::path& file);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  [[nodiscard]] const OrtApi& api() const { return *api_; }
  [[nodiscard]] OrtEnv* env() const { return env_; }
  [[nodiscard]] const OrtMemoryInfo* memory() const { return memory_; }
  [[nodiscard]] OrtAllocator* allocator() const { return allocator_; }
  [[nodiscard]] const std::string& version() const { return version_; }
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

  // Takes `status`; returns an error of `code` and `reason` with the runtime's own words unless it is a success.
  [[nodiscard]] Result<void> check(OrtStatus* status, Code code, std::string_view reason, std::string_view what) const;

 private:
  explicit Library(std::filesystem::path file) : file_(std::move(file)) {}
  [[nodiscard]] Result<void> start(const OrtApiBase& base);

  const std::filesystem::path file_;
  std::string version_;
  const OrtApi* api_ = nullptr;
  OrtEnv* env_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  OrtAllocator* allocator_ = nullptr;  // the library's own; not to be released
};

// Owns an object of the runtime: Handle<OrtValue>(library, &OrtApi::ReleaseValue).
template <class T>
class Handle {
 public:
  using Release = void(ORT_API_CALL*)(T*);
  Handle(const Library& library, Release OrtApi::*release) : release_(library.api().*release) {}
  Handle(Handle&& other) noexcept : release_(other.release_), object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (object_ != nullptr) release_(object_);
  }
  [[nodiscard]] T* get() const { return object_; }
  // Where a creating function writes the object.
  [[nodiscard]] T** out() { return &object_; }

 private:
  const Release release_;
  T* object_ = nullptr;
};

}  // namespace tidemill::runtimes
