// The C API of DuckDB, opened at run time, with C++ ownership; private to this room.
#pragma once

#include <duckdb.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace tidemill::tables {

// Every function of the library that this room calls.
// clang-format off
#define TM_DUCKDB_FUNCTIONS(X)                                                                                  \
  X(open_ext) X(close) X(connect) X(disconnect) X(interrupt) X(free) X(query)                                   \
  X(prepare) X(destroy_prepare) X(prepare_error) X(bind_value) X(execute_prepared) X(nparams)                   \
  X(result_error) X(destroy_result) X(fetch_chunk) X(rows_changed)                                              \
  X(column_count) X(column_name) X(column_logical_type)                                                         \
  X(create_logical_type) X(destroy_logical_type) X(get_type_id) X(decimal_scale) X(decimal_internal_type)       \
  X(create_data_chunk) X(destroy_data_chunk) X(data_chunk_reset) X(data_chunk_get_size) X(data_chunk_set_size)  \
  X(data_chunk_get_vector) X(vector_get_data) X(vector_get_validity) X(vector_ensure_validity_writable)         \
  X(validity_set_row_invalid) X(vector_assign_string_element_len) X(vector_size)                                \
  X(appender_create_ext) X(append_data_chunk) X(appender_error) X(appender_close) X(appender_destroy)           \
  X(create_list_value) X(create_varchar_length) X(create_int64) X(create_double) X(create_bool)                 \
  X(create_null_value) X(destroy_value)
// clang-format on

// Never unloaded: DuckDB's threads and thread-local destructors would outlive it. Immutable: any thread.
class Library {
 public:
  [[nodiscard]] static Result<std::shared_ptr<const Library>> open(const std::filesystem::path& file);

#define TM_DUCKDB_POINTER(name) decltype(&::duckdb_##name) name = nullptr;
  TM_DUCKDB_FUNCTIONS(TM_DUCKDB_POINTER)
#undef TM_DUCKDB_POINTER

 private:
  Library() = default;
};

// Returns where libduckdb.so is looked for when no setting names it: beside the program's lib folder (as installed), in
// deps/lib beside the program (as built), then where it was at build time.
[[nodiscard]] std::vector<std::filesystem::path> library_candidates();

// Owns a handle that the library releases by address, such as duckdb_connection:
// Owned<duckdb_connection>(api.disconnect).
template <class T>
class Owned {
 public:
  explicit Owned(void (*release)(T*)) : release_(release) {}
  Owned(Owned&& other) noexcept : release_(other.release_), handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&&) = delete;
  ~Owned() { reset(); }
  [[nodiscard]] T get() const { return handle_; }
  // Where a creating function writes the handle.
  [[nodiscard]] T* out() { return &handle_; }
  void set(T handle) {
    reset();
    handle_ = handle;
  }
  void reset() {
    if (handle_ != nullptr) release_(&handle_);
    handle_ = nullptr;
  }

 private:
  void (*const release_)(T*);
  T handle_ = nullptr;
};

}  // namespace tidemill::tables
