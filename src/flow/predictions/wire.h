// Little-endian bytes in and out: how records of the journal are written. Private to this room.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tidemill::predictions {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

class WireWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(T value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void put_text(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    bytes_.append(text);
  }
  template <class T>
  void put_all(std::span<const T> values) {
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what WireWriter wrote. After a read past the end everything reads as zero and `good()` is false.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] T get() {
    T value{};
    if (!has(sizeof value)) return value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }
  [[nodiscard]] std::string get_text() {
    const auto size = get<std::uint32_t>();
    if (!has(size)) return {};
    std::string text(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return text;
  }
  template <class T>
  [[nodiscard]] std::vector<T> get_all(std::size_t count) {
    std::vector<T> values;
    if (count > bytes_.size() / sizeof(T) || !has(count * sizeof(T))) {
      good_ = false;
      return values;
    }
    values.resize(count);
    std::memcpy(values.data(), bytes_.data(), count * sizeof(T));
    bytes_.remove_prefix(count * sizeof(T));
    return values;
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return bytes_.empty(); }

 private:
  [[nodiscard]] bool has(std::size_t size) {
    good_ = good_ && bytes_.size() >= size;
    return good_;
  }

  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace tidemill::predictions
