// Result<T>: how every fallible function of Tidemill answers.
//
// The set of codes is closed on purpose: api/http maps each to one HTTP status in one place, and the
// CLI maps each to one exit code. What a person needs beyond the code stands in `reason` (a stable
// key that the web UI translates), `message` (what thing, what value) and `remedy` (what to do).
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace tidemill {

enum class Code {
  kInvalidArgument,     // the caller sent something that can never work
  kUnauthenticated,     // nobody is signed in
  kPermissionDenied,    // signed in, but this right is missing
  kNotFound,            // the named thing does not exist
  kAlreadyExists,       // the name is taken
  kConflict,            // somebody else changed it first; read again and retry
  kFailedPrecondition,  // the thing is in a state that forbids this
  kTooLarge,            // over a named limit
  kExhausted,           // a queue or quota is full; retry later
  kUnavailable,         // a part is down or draining; retry later
  kUnimplemented,       // known, and deliberately not offered
  kInternal,            // our own mistake or the machine's
};

// Returns the snake_case name, such as "not_found", that JSON errors carry as `code`.
[[nodiscard]] std::string_view code_name(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string reason;   // stable dotted key, such as "datasets.rule_broken"; never shown as it is
  std::string message;  // English, one sentence, names the thing and the value
  std::string remedy;   // English, one sentence; empty only when there is nothing the caller can do
  std::map<std::string, std::string>
      details{};  // values for the translated message, such as {"rule", "dep_time in 0..2400"}

  // Returns "message remedy" for logs and terminals.
  [[nodiscard]] std::string text() const;
};

template <class T>
using Result = std::expected<T, Error>;

// Makes the error side of a Result, for `return fail(Code::kNotFound, "runs.unknown", ...)`.
[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string reason, std::string message,
                                                 std::string remedy = {},
                                                 std::map<std::string, std::string> details = {}) {
  return std::unexpected(Error{code, std::move(reason), std::move(message), std::move(remedy), std::move(details)});
}

[[nodiscard]] inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }

}  // namespace tidemill

// TM_TRY(expression) evaluates a Result<T> and yields its T, or returns its error from the function.
// Statement expressions are a GNU extension that both of our compilers have. The counter keeps nested uses apart.
#define TM_TRY(...) TM_TRY_NUMBERED_(__COUNTER__, __VA_ARGS__)
#define TM_TRY_NUMBERED_(number, ...) TM_TRY_NAMED_(number, __VA_ARGS__)
#define TM_TRY_NAMED_(number, ...)                                                          \
  ({                                                                                        \
    auto tm_result_##number = (__VA_ARGS__);                                                \
    if (!tm_result_##number) return std::unexpected(std::move(tm_result_##number).error()); \
    *std::move(tm_result_##number);                                                         \
  })

// TM_CHECK(expression) does the same for Result<void>, or where the value is not wanted.
#define TM_CHECK(...) TM_CHECK_NUMBERED_(__COUNTER__, __VA_ARGS__)
#define TM_CHECK_NUMBERED_(number, ...) TM_CHECK_NAMED_(number, __VA_ARGS__)
#define TM_CHECK_NAMED_(number, ...)                                  \
  do {                                                                \
    if (auto tm_result_##number = (__VA_ARGS__); !tm_result_##number) \
      return std::unexpected(std::move(tm_result_##number).error());  \
  } while (false)
