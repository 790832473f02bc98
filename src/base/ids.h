// Strong ids: a RunId never fits where a ModelVersionId goes.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace tidemill {

// Returns 32 lowercase hex digits: 48 bits of the Unix time in milliseconds, then random bits, laid
// out as a version 7 UUID (RFC 9562) without its dashes. Ids made later sort later, which keeps B-tree inserts
// at the right edge. Any thread.
[[nodiscard]] std::string generate_hex_id();

// Returns whether `text` is 32 lowercase hex digits.
[[nodiscard]] bool is_hex_id(std::string_view text);

// An id of 32 lowercase hex digits. `Tag` is an incomplete struct with `static constexpr const char* kNoun`,
// the plural noun of the room, used in messages.
template <class Tag>
class Id {
 public:
  Id() = default;  // empty; only to be assigned to

  [[nodiscard]] static Id generate() { return Id(generate_hex_id()); }

  // Returns the id, or kInvalidArgument when `text` is not 32 lowercase hex digits.
  [[nodiscard]] static Result<Id> parse(std::string_view text) {
    if (!is_hex_id(text)) {
      return fail(Code::kInvalidArgument, "ids.malformed",
                  "'" + std::string(text.substr(0, 64)) + "' is not an id of " + Tag::kNoun + ".",
                  "Give the 32 lowercase hex digits that the list of " + std::string(Tag::kNoun) + " shows.");
    }
    return Id(std::string(text));
  }

  // Takes text that the caller knows to be an id, such as one read back from our own table.
  [[nodiscard]] static Id trusted(std::string text) { return Id(std::move(text)); }

  [[nodiscard]] const std::string& str() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  explicit Id(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

// Returns `name` when it may name a dataset, feature view, pipeline, deployment …: 1 to 128 of A–Z a–z 0–9 . _ -,
// starting with a letter or digit; otherwise kInvalidArgument naming `noun`, the value and the rule.
[[nodiscard]] Result<std::string> check_name(std::string_view noun, std::string_view name);

}  // namespace tidemill

template <class Tag>
struct std::hash<tidemill::Id<Tag>> {
  std::size_t operator()(const tidemill::Id<Tag>& id) const noexcept { return std::hash<std::string>{}(id.str()); }
};
