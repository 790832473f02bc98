// Requests and responses as handlers see them: plain structs, cheap to include. Only server.cc knows Beast.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "access/types.h"
#include "base/enums.h"
#include "base/json.h"
#include "base/result.h"

namespace tidemill::http {

enum class Method { get, head, post, put, patch, del };
BOOST_DESCRIBE_ENUM(Method, get, head, post, put, patch, del)

// The pairs after '?', decoded, in order; a name may come several times.
class Query {
 public:
  Query() = default;
  explicit Query(std::vector<std::pair<std::string, std::string>> pairs) : pairs_(std::move(pairs)) {}
  // kInvalidArgument for a broken %XX or bytes that are not UTF-8.
  [[nodiscard]] static Result<Query> parse(std::string_view text);

  // Returns the first value of this name, or nothing.
  [[nodiscard]] std::optional<std::string> get(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

// Header fields; names compare without regard to case.
class Headers {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // Returns the first value of this name, or nothing. The view lives as long as this does.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  Method method = Method::get;
  std::string path;                           // decoded
  std::map<std::string, std::string> params;  // of the route's path, decoded
  Query query;
  Headers headers;
  std::string body;                 // of routes that take bytes or JSON
  std::filesystem::path body_file;  // of upload routes: the body, in a file that is deleted after the handler is done
                                    // unless it was moved away
  access::Actor actor;              // who asks; set by the guard
  std::string request_id;
  std::string peer;  // address of the other side

  // Returns a parameter of the path. Asking for one that the route does not have is our own mistake: "".
  [[nodiscard]] const std::string& param(std::string_view name) const;
  // Returns a parameter as a whole number from 1; kInvalidArgument names it.
  [[nodiscard]] Result<std::int64_t> number_param(std::string_view name) const;
};

// A part of a file as the body.
struct FileBody {
  std::filesystem::path path;
  bool delete_after = false;
};

// A body without an end, for server-sent events. Owned by the connection; called on a thread of its own, never at once
// from two.
class Stream {
 public:
  virtual ~Stream() = default;
  // Waits up to `wait_ms` and returns what is to be sent next; "" when there was nothing, nothing at all when the
  // stream is over.
  [[nodiscard]] virtual std::optional<std::string> next(std::int64_t wait_ms) = 0;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::optional<FileBody> file;    // instead of `body`; answers Range
  std::shared_ptr<Stream> stream;  // instead of `body`

  [[nodiscard]] static Response json(int status, const json::Value& value);
  [[nodiscard]] static Response text(int status, std::string text,
                                     std::string content_type = "text/plain; charset=utf-8");
  // {"error": {code, reason, message, remedy, details}} with the one status that stands for the code.
  [[nodiscard]] static Response error(const Error& error);
};

// Returns the error as callers may see it: without the folders of this machine that errors of the file system name.
// The log keeps the whole.
[[nodiscard]] Error for_caller(const Error& error);

// The one mapping from our codes to HTTP.
[[nodiscard]] int status_of(const Error& error);

// Called once with the answer, from any thread.
using Done = std::function<void(Response)>;

// Returns the text with %XX decoded; kInvalidArgument for a broken escape, a NUL, or bytes that are not UTF-8. '+'
// stays as it is unless `plus_is_space`.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

}  // namespace tidemill::http
