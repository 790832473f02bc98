#include "storage/blobs/s3_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "base/hash.h"

namespace tidemill::blobs {
namespace {

std::string authority_of(std::string_view endpoint) { return std::string(endpoint.substr(endpoint.find("//") + 2)); }
std::string scheme_of(std::string_view endpoint) { return std::string(endpoint.substr(0, endpoint.find("//") + 2)); }
// AWS wants the bucket in the host; servers of one's own are asked by path, which needs no wildcard name.
bool bucket_in_host(const S3Bucket& bucket) { return bucket.settings.endpoint.ends_with(".amazonaws.com"); }

// Returns "20130524T000000Z".
std::string basic_time(std::int64_t at_ms) {
  std::string text = format_utc(at_ms).substr(0, 19) + "Z";
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

bool worth_another_try(long status, std::string_view code) {
  constexpr std::array<std::string_view, 4> kCodes{"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"};
  return status == 0 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504 ||
         std::ranges::find(kCodes, code) != kCodes.end();
}

// Returns a wait between 0 and the doubled, bounded back-off: clients that failed together do not return together.
std::chrono::milliseconds wait_before(std::int64_t attempt, const S3Settings& settings) {
  const std::int64_t longest =
      std::min(settings.backoff_ms << std::min<std::int64_t>(attempt - 1, 20), settings.backoff_ms_max);
  thread_local std::minstd_rand random(std::random_device{}());
  return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(0, longest)(random));
}

class HeaderList {
 public:
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  ~HeaderList() { curl_slist_free_all(list_); }
  void add(const std::string& line) { list_ = curl_slist_append(list_, line.c_str()); }
  [[nodiscard]] curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

}  // namespace

// One try and what came of it.
struct S3Client::Attempt {
  S3Answer answer;
  std::uint64_t bytes_max = 0;
  bool too_large = false;
  CURLcode code = CURLE_OK;
  std::array<char, CURL_ERROR_SIZE> why{};
  std::string s3_code;
  std::string s3_message;

  static std::size_t take(const char* data, std::size_t, std::size_t bytes, void* target) {
    auto& attempt = *static_cast<Attempt*>(target);
    attempt.too_large = attempt.answer.body.size() + bytes > attempt.bytes_max;
    if (attempt.too_large) return 0;
    attempt.answer.body.append(data, bytes);
    return bytes;
  }
  [[nodiscard]] bool answered() const { return code == CURLE_OK; }
};

// A CURL handle borrowed from the idle ones.
class S3Client::Handle {
 public:
  explicit Handle(const S3Client& client) : client_(client) {
    {
      const std::lock_guard lock(client.mutex_);
      if (!client.idle_.empty()) {
        handle_ = client.idle_.back();
        client.idle_.pop_back();
      }
    }
    if (handle_ == nullptr) handle_ = curl_easy_init();
    curl_easy_reset(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    const std::lock_guard lock(client_.mutex_);
    client_.idle_.push_back(handle_);
  }
  [[nodiscard]] CURL* get() const { return handle_; }

 private:
  const S3Client& client_;
  CURL* handle_ = nullptr;
};

S3Client::S3Client(S3Bucket bucket, const Clock& clock)
    : bucket_(std::move(bucket)),
      clock_(clock),
      scheme_(scheme_of(bucket_.settings.endpoint)),
      host_((bucket_in_host(bucket_) ? bucket_.name + "." : "") + authority_of(bucket_.settings.endpoint)),
      path_prefix_(bucket_in_host(bucket_) ? "" : "/" + bucket_.name) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
}

S3Client::~S3Client() {
  for (void* handle : idle_) curl_easy_cleanup(handle);
}

std::map<std::string, std::string> S3Client::signed_headers(const S3Request& request, const std::string& path) const {
  ToSign signing{request.method, path, request.query, request.headers};
  signing.headers["host"] = host_;
  signing.headers["x-amz-date"] = basic_time(clock_.now_ms());
  signing.headers["x-amz-content-sha256"] = sha256_hex(request.body);
  if (!bucket_.credentials.session_token.empty()) {
    signing.headers["x-amz-security-token"] = bucket_.credentials.session_token;
  }
  const std::string value = authorization(signing, bucket_.credentials, bucket_.settings.region);
  signing.headers["authorization"] = value;
  return std::move(signing.headers);
}

void S3Client::attempt(const S3Request& request, Attempt& attempt) const {
  const Handle handle(*this);
  CURL* curl = handle.get();
  const std::string path = path_prefix_ + "/" + percent_encode(request.key, true);
  const std::string query = query_string(request.query);
  const std::string url = scheme_ + host_ + path + (query.empty() ? "" : "?" + query);
  HeaderList headers;
  for (const auto& [name, value] : signed_headers(request, path)) headers.add(fmt::format("{}: {}", name, value));
  headers.add("Expect:");
  headers.add("Content-Type: application/octet-stream");
  attempt.bytes_max = request.answer_bytes_max;
  const S3Settings& settings = bucket_.settings;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings.connect_timeout_ms));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(settings.request_timeout_ms));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>((settings.stall_timeout_ms + 999) / 1000));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt.why.data());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Attempt::take);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &attempt);
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  attempt.code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  if (!attempt.answered()) return;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &attempt.answer.status);
  curl_off_t length = 0;
  curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  attempt.answer.bytes = length < 0 ? 0 : static_cast<std::uint64_t>(length);
  curl_header* etag = nullptr;
  if (curl_easy_header(curl, "ETag", 0, CURLH_HEADER, -1, &etag) == CURLHE_OK) attempt.answer.etag = etag->value;
}

Error S3Client::failure(const S3Request& request, const Attempt& attempt) const {
  const std::string what = fmt::format("{} of '{}' in the bucket {}", request.method, request.key, bucket_.name);
  if (attempt.too_large) {
    return {Code::kTooLarge, "blobs.too_large", fmt::format("{}: more than {} bytes.", what, attempt.bytes_max), ""};
  }
  if (!attempt.answered()) {
    const std::string why = attempt.why[0] != '\0' ? attempt.why.data() : curl_easy_strerror(attempt.code);
    return {Code::kUnavailable, "blobs.s3_unreachable", fmt::format("{} had no answer: {}.", what, why),
            fmt::format("Check that {}{} can be reached from here.", scheme_, host_)};
  }
  const std::string why = fmt::format("{} was answered {} {}: {}", what, attempt.answer.status, attempt.s3_code,
                                      attempt.s3_message.empty() ? "no reason given." : attempt.s3_message);
  if (attempt.answer.status == 507) {
    return {Code::kExhausted, "storage.disk_full", why, "Free space at the object store, then try again."};
  }
  return {Code::kUnavailable, "blobs.s3_refused", why,
          "Check the bucket, the region, the clock and what these credentials may do."};
}

Result<S3Answer> S3Client::send(const S3Request& request) const {
  for (std::int64_t tried = 1;; ++tried) {
    Attempt one;
    attempt(request, one);
    S3Answer& answer = one.answer;
    // Long work is answered 200 at once and its failure told in the body.
    const bool refused_in_body = request.method == "POST" && answer.status == 200 && answer.body.contains("<Error>");
    if (one.answered() && (answer.status >= 300 || refused_in_body)) {
      one.s3_code = xml_text(answer.body, "Code");
      one.s3_message = xml_text(answer.body, "Message");
    }
    const bool missing_key =
        answer.status == 404 && !request.key.empty() && one.s3_code != "NoSuchBucket" && one.s3_code != "NoSuchUpload";
    if (one.answered() && !refused_in_body && ((answer.status >= 200 && answer.status < 300) || missing_key)) {
      return std::move(answer);
    }
    const bool again = !one.too_large && (!one.answered() || worth_another_try(answer.status, one.s3_code));
    if (!again || tried >= bucket_.settings.attempts_max) return fail(failure(request, one));
    std::this_thread::sleep_for(wait_before(tried, bucket_.settings));
  }
}

std::vector<std::string> xml_texts(std::string_view xml, std::string_view tag) {
  constexpr std::array<std::pair<std::string_view, char>, 5> kEntities{
      {{"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}}};
  const std::string open = fmt::format("<{}>", tag);
  const std::string close = fmt::format("</{}>", tag);
  std::vector<std::string> texts;
  for (std::size_t at = xml.find(open); at != std::string_view::npos; at = xml.find(open, at)) {
    at += open.size();
    const std::size_t end = xml.find(close, at);
    if (end == std::string_view::npos) break;
    std::string text;
    for (std::string_view rest = xml.substr(at, end - at); !rest.empty();) {
      const auto entity = std::ranges::find_if(kEntities, [&](const auto& e) { return rest.starts_with(e.first); });
      text += entity == kEntities.end() ? rest.front() : entity->second;
      rest.remove_prefix(entity == kEntities.end() ? 1 : entity->first.size());
    }
    texts.push_back(std::move(text));
    at = end;
  }
  return texts;
}

std::string xml_text(std::string_view xml, std::string_view tag) {
  auto texts = xml_texts(xml, tag);
  return texts.empty() ? std::string() : std::move(texts.front());
}

}  // namespace tidemill::blobs
