// The HTTP client of the command line, on libcurl.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tidemill::cli {

using Query = std::vector<std::pair<std::string, std::string>>;

// Returns `text` with everything but A–Z a–z 0–9 - . _ ~ written as %XX, for one segment of a path or one query value.
[[nodiscard]] std::string percent_encoded(std::string_view text);

// Returns "/api/datasets/my%20name" from {"datasets", "my name"}: the one place where paths of the API are put
// together.
[[nodiscard]] std::string api_path(const std::vector<std::string>& segments);

// One connection to one server, kept alive between calls. Not thread-safe.
class Client {
 public:
  // `url` such as "http://127.0.0.1:7070"; `token` may be empty.
  Client(std::string url, std::string token);
  // The same with a name and a password, as RFC 7617 has it.
  Client(std::string url, std::string name, std::string password);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Each returns the answer's JSON; an error answer becomes an Error with the server's own code, reason, message and
  // remedy; no connection is kUnavailable, reason "cli.unreachable".
  [[nodiscard]] Result<json::Value> get(const std::string& path, const Query& query = {});
  [[nodiscard]] Result<json::Value> post(const std::string& path, const json::Value& body);
  [[nodiscard]] Result<json::Value> put(const std::string& path, const json::Value& body);
  [[nodiscard]] Result<json::Value> patch(const std::string& path, const json::Value& body);
  [[nodiscard]] Result<json::Value> remove(const std::string& path);
  // Returns the body as it is, for logs and files.
  [[nodiscard]] Result<std::string> get_text(const std::string& path, const Query& query = {});
  // Sends a file as the body; `progress(sent, total)` in bytes may be empty.
  [[nodiscard]] Result<json::Value> upload(const std::string& path, const Query& query,
                                           const std::filesystem::path& file,
                                           const std::function<void(std::uint64_t, std::uint64_t)>& progress);

  // Sends a file by PUT.
  [[nodiscard]] Result<json::Value> put_file(const std::string& path, const std::filesystem::path& file);
  // Writes the body to `file`, which it makes or overwrites; what is left behind an error is removed.
  [[nodiscard]] Result<void> download(const std::string& path, const std::filesystem::path& file);

  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  struct Transfer;
  [[nodiscard]] Result<std::string> perform(Transfer& transfer);
  [[nodiscard]] Result<json::Value> perform_json(Transfer& transfer);
  [[nodiscard]] Result<json::Value> send_file(Transfer& transfer, const std::filesystem::path& file);

  const std::string url_;
  const std::string token_;
  const std::string password_;  // with the name before it: "name:password"
  void* const curl_;            // CURL*, owned
};

}  // namespace tidemill::cli
