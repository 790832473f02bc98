#include "cli/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <optional>

namespace tidemill::cli {
namespace {

constexpr long kConnectTimeoutMs = 5'000;
constexpr std::size_t kAnswerBytesMax = 512u << 20;

constexpr std::array kCodes{Code::kInvalidArgument, Code::kUnauthenticated, Code::kPermissionDenied,   Code::kNotFound,
                            Code::kAlreadyExists,   Code::kConflict,        Code::kFailedPrecondition, Code::kTooLarge,
                            Code::kExhausted,       Code::kUnavailable,     Code::kUnimplemented,      Code::kInternal};

std::string text_of(const json::Object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

Code code_of(long status) {
  switch (status) {
    case 400:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 409:
      return Code::kConflict;
    case 413:
      return Code::kTooLarge;
    case 429:
      return Code::kExhausted;
    case 501:
      return Code::kUnimplemented;
    case 503:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

// The Open Inference Protocol's form, {"error": "text"}: ours has reason and remedy beside it, and the text ends with
// the remedy.
Error protocol_error(long status, const json::Object& object) {
  Error error{code_of(status), text_of(object, "reason"), text_of(object, "error"), text_of(object, "remedy"), {}};
  if (!error.remedy.empty() && error.message.ends_with(" " + error.remedy))
    error.message.resize(error.message.size() - error.remedy.size() - 1);
  return error;
}

// Reads {"error_code": …, "message": …}, as MLflow's protocol has it.
std::optional<Error> mlflow_error_of(long status, const json::Object& object) {
  const std::string name = text_of(object, "error_code");
  if (name.empty()) return std::nullopt;
  Error error{code_of(status), text_of(object, "reason"), text_of(object, "message"), "", {}};
  if (name == "RESOURCE_ALREADY_EXISTS") error.code = Code::kAlreadyExists;
  if (name == "INVALID_STATE") error.code = Code::kFailedPrecondition;
  if (error.reason.empty()) error.reason = "mlflow." + name;
  return error;
}

// Reads {"error": {…}} or {"error": "text"}; an answer in another form becomes an error that shows its beginning.
Error error_of(long status, const std::string& body) {
  if (auto parsed = json::parse(body); parsed && parsed->is_object()) {
    if (const auto* found = parsed->get_object().if_contains("error"); found != nullptr && found->is_object()) {
      const json::Object& object = found->get_object();
      Error error{
          Code::kInternal, text_of(object, "reason"), text_of(object, "message"), text_of(object, "remedy"), {}};
      for (const Code code : kCodes) {
        if (code_name(code) == text_of(object, "code")) error.code = code;
      }
      if (const auto* details = object.if_contains("details"); details != nullptr && details->is_object()) {
        for (const auto& entry : details->get_object()) {
          error.details[entry.key()] =
              entry.value().is_string() ? std::string(entry.value().get_string()) : json::serialize(entry.value());
        }
      }
      return error;
    } else if (found != nullptr && found->is_string()) {
      return protocol_error(status, parsed->get_object());
    }
    if (auto error = mlflow_error_of(status, parsed->get_object())) return *std::move(error);
  }
  return {code_of(status), "cli.unexpected_answer",
          fmt::format("The server answered {} '{}'.", status, body.substr(0, 200)), ""};
}

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* target) {
  auto* body = static_cast<std::string*>(target);
  if (body->size() + size * count > kAnswerBytesMax) return 0;
  body->append(data, size * count);
  return size * count;
}

std::size_t take_file(char* data, std::size_t size, std::size_t count, void* target) {
  return std::fwrite(data, 1, size * count, static_cast<std::FILE*>(target));
}

std::size_t give_file(char* data, std::size_t size, std::size_t count, void* source) {
  return std::fread(data, 1, size * count, static_cast<std::FILE*>(source));
}

using Progress = std::function<void(std::uint64_t, std::uint64_t)>;

int show_progress(void* target, curl_off_t, curl_off_t, curl_off_t total, curl_off_t sent) {
  const auto& progress = *static_cast<const Progress*>(target);
  if (progress) progress(static_cast<std::uint64_t>(sent), static_cast<std::uint64_t>(total));
  return 0;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

// What one request is made of.
struct Client::Transfer {
  const char* method = "GET";
  std::string path;
  Query query;
  std::optional<std::string> body;
  std::FILE* file = nullptr;
  std::uint64_t file_bytes = 0;
  std::FILE* into = nullptr;  // takes the body instead of memory
  const Progress* progress = nullptr;
};

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string api_path(const std::vector<std::string>& segments) {
  std::string path = "/api";
  for (const auto& segment : segments) path += "/" + percent_encoded(segment);
  return path;
}

Client::Client(std::string url, std::string token)
    : url_(std::move(url)), token_(std::move(token)), curl_(curl_easy_init()) {}
Client::Client(std::string url, std::string name, std::string password)
    : url_(std::move(url)), password_(std::move(name) + ":" + std::move(password)), curl_(curl_easy_init()) {}
Client::~Client() { curl_easy_cleanup(curl_); }

Result<std::string> Client::perform(Transfer& transfer) {
  std::string target = url_ + transfer.path;
  for (std::size_t i = 0; i < transfer.query.size(); ++i) {
    target += fmt::format("{}{}={}", i == 0 ? '?' : '&', percent_encoded(transfer.query[i].first),
                          percent_encoded(transfer.query[i].second));
  }
  std::string answer;
  curl_slist* headers = curl_slist_append(nullptr, "Expect:");
  if (transfer.body) headers = curl_slist_append(headers, "Content-Type: application/json");
  if (!token_.empty()) headers = curl_slist_append(headers, ("Authorization: Bearer " + token_).c_str());
  curl_easy_reset(curl_);
  curl_easy_setopt(curl_, CURLOPT_URL, target.c_str());
  curl_easy_setopt(curl_, CURLOPT_CUSTOMREQUEST, transfer.method);
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl_, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
  curl_easy_setopt(curl_, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, transfer.into == nullptr ? take_body : take_file);
  curl_easy_setopt(curl_, CURLOPT_WRITEDATA,
                   transfer.into == nullptr ? static_cast<void*>(&answer) : static_cast<void*>(transfer.into));
  if (!password_.empty()) curl_easy_setopt(curl_, CURLOPT_USERPWD, password_.c_str());
  if (transfer.body) {
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, transfer.body->c_str());
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.body->size()));
  }
  if (transfer.file != nullptr) {
    curl_easy_setopt(curl_, CURLOPT_POST, 1L);
    curl_easy_setopt(curl_, CURLOPT_READFUNCTION, give_file);
    curl_easy_setopt(curl_, CURLOPT_READDATA, transfer.file);
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.file_bytes));
    curl_easy_setopt(curl_, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl_, CURLOPT_XFERINFOFUNCTION, show_progress);
    curl_easy_setopt(curl_, CURLOPT_XFERINFODATA, transfer.progress);
  }
  const CURLcode code = curl_easy_perform(curl_);
  curl_slist_free_all(headers);
  if (code != CURLE_OK) {
    return fail(Code::kUnavailable, "cli.unreachable",
                fmt::format("No answer from {}: {}.", url_, curl_easy_strerror(code)),
                "Start the server with 'tidemill server', or name it with --server or TIDEMILL_URL.");
  }
  long status = 0;
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
  if (status < 200 || status > 299) return fail(error_of(status, answer));
  return answer;
}

Result<json::Value> Client::perform_json(Transfer& transfer) {
  const std::string body = TM_TRY(perform(transfer));
  if (body.empty()) return json::Value(json::Object{});
  return json::parse(body, json::Limits{.bytes_max = kAnswerBytesMax});
}

Result<json::Value> Client::get(const std::string& path, const Query& query) {
  Transfer transfer;
  transfer.path = path;
  transfer.query = query;
  return perform_json(transfer);
}

Result<std::string> Client::get_text(const std::string& path, const Query& query) {
  Transfer transfer;
  transfer.path = path;
  transfer.query = query;
  return perform(transfer);
}

Result<json::Value> Client::post(const std::string& path, const json::Value& body) {
  Transfer transfer;
  transfer.method = "POST";
  transfer.path = path;
  transfer.body = json::serialize(body);
  return perform_json(transfer);
}

Result<json::Value> Client::put(const std::string& path, const json::Value& body) {
  Transfer transfer;
  transfer.method = "PUT";
  transfer.path = path;
  transfer.body = json::serialize(body);
  return perform_json(transfer);
}

Result<json::Value> Client::patch(const std::string& path, const json::Value& body) {
  Transfer transfer;
  transfer.method = "PATCH";
  transfer.path = path;
  transfer.body = json::serialize(body);
  return perform_json(transfer);
}

Result<json::Value> Client::remove(const std::string& path) {
  Transfer transfer;
  transfer.method = "DELETE";
  transfer.path = path;
  return perform_json(transfer);
}

Result<json::Value> Client::send_file(Transfer& transfer, const std::filesystem::path& file) {
  const std::unique_ptr<std::FILE, CloseFile> opened(std::fopen(file.c_str(), "rbe"));
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (opened == nullptr || error) {
    return fail(Code::kNotFound, "cli.no_such_file", fmt::format("There is no file '{}'.", file.string()),
                "Name a file.");
  }
  transfer.file = opened.get();
  transfer.file_bytes = bytes;
  return perform_json(transfer);
}

Result<json::Value> Client::upload(const std::string& path, const Query& query, const std::filesystem::path& file,
                                   const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  Transfer transfer;
  transfer.method = "POST";
  transfer.path = path;
  transfer.query = query;
  transfer.progress = &progress;
  return send_file(transfer, file);
}

Result<json::Value> Client::put_file(const std::string& path, const std::filesystem::path& file) {
  const Progress quiet;
  Transfer transfer;
  transfer.method = "PUT";
  transfer.path = path;
  transfer.progress = &quiet;
  return send_file(transfer, file);
}

Result<void> Client::download(const std::string& path, const std::filesystem::path& file) {
  std::unique_ptr<std::FILE, CloseFile> opened(std::fopen(file.c_str(), "wbe"));
  if (opened == nullptr) {
    return fail(Code::kInternal, "cli.unwritable", fmt::format("'{}' cannot be written.", file.string()),
                "Choose another place.");
  }
  Transfer transfer;
  transfer.path = path;
  transfer.into = opened.get();
  auto done = perform(transfer);
  const bool flushed = std::fclose(opened.release()) == 0;
  if (done && flushed) return {};
  std::error_code ignored;
  std::filesystem::remove(file, ignored);
  if (!done) return std::unexpected(std::move(done).error());
  return fail(Code::kExhausted, "cli.unwritable", fmt::format("'{}' cannot be written to its end.", file.string()),
              "Make room on the disk.");
}

}  // namespace tidemill::cli
