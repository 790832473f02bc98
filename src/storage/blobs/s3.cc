#include "storage/blobs/s3.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <utility>

#include "base/files.h"
#include "storage/blobs/chunked_store.h"
#include "storage/blobs/s3_client.h"
#include "storage/blobs/s3_objects.h"

namespace tidemill::blobs {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr std::uint64_t kCredentialsBytesMax = 64 * 1024;
constexpr std::uint64_t kPartBytesMin = 5 << 20;  // S3's own bounds
constexpr std::uint64_t kPartBytesMax = std::uint64_t{5} << 30;
constexpr std::int64_t kTransfersMax = 256;

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t from = text.find_first_not_of(kSpace);
  if (from == std::string_view::npos) return {};
  return std::string(text.substr(from, text.find_last_not_of(kSpace) - from + 1));
}

// Returns what stands in [profile] of a file in the form of ~/.aws/credentials; fields that are not there stay empty.
S3Credentials read_profile(std::string_view text, std::string_view profile) {
  S3Credentials found;
  std::string section;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('[') && line.ends_with(']')) section = trimmed(line.substr(1, line.size() - 2));
    const std::size_t equals = line.find('=');
    if (line.starts_with('#') || equals == std::string::npos || section != profile) continue;
    const std::string name = trimmed(line.substr(0, equals));
    const std::string value = trimmed(line.substr(equals + 1));
    if (name == "aws_access_key_id") found.access_key = value;
    if (name == "aws_secret_access_key") found.secret_key = value;
    if (name == "aws_session_token") found.session_token = value;
  }
  return found;
}

Result<S3Credentials> credentials_of_file(const S3Settings& settings) {
  struct stat status {};
  if (::stat(settings.credentials_file.c_str(), &status) != 0) {
    return fail(errno_error("look at the credentials", settings.credentials_file, errno));
  }
  if ((status.st_mode & 077) != 0) {
    return fail(Code::kPermissionDenied, "blobs.s3_credentials_open",
                fmt::format("Others may read the credentials in '{}'.", settings.credentials_file),
                fmt::format("chmod 600 '{}'", settings.credentials_file));
  }
  return read_profile(TM_TRY(read_file(settings.credentials_file, kCredentialsBytesMax)), settings.profile);
}

// Returns the first of the variables that has a value, else `fallback`.
std::string first_of(const Environment& environment, std::initializer_list<const char*> names,
                     const std::string& fallback) {
  for (const char* name : names) {
    const auto value = environment(name);
    if (value && !value->empty()) return *value;
  }
  return fallback;
}

Result<S3Credentials> find_credentials(const S3Settings& settings, const Environment& environment) {
  S3Credentials found;
  if (settings.credentials_file.empty()) {
    found = {first_of(environment, {"AWS_ACCESS_KEY_ID"}, ""), first_of(environment, {"AWS_SECRET_ACCESS_KEY"}, ""),
             first_of(environment, {"AWS_SESSION_TOKEN"}, "")};
  } else {
    found = TM_TRY(credentials_of_file(settings));
  }
  if (found.access_key.empty() || found.secret_key.empty()) {
    return fail(Code::kInvalidArgument, "blobs.s3_no_credentials", "There are no credentials for the bucket.",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3.credentials_file.");
  }
  return found;
}

Result<void> check_settings(const S3Settings& settings) {
  const std::string& endpoint = settings.endpoint;
  const std::size_t authority = endpoint.find("//") + 2;
  if ((!endpoint.starts_with("http://") && !endpoint.starts_with("https://")) || endpoint.size() == authority ||
      endpoint.find_first_of("/?#@ ", authority) != std::string::npos) {
    return fail(Code::kInvalidArgument, "blobs.s3_bad_endpoint", fmt::format("'{}' is no endpoint of S3.", endpoint),
                "Write https://HOST or https://HOST:PORT.");
  }
  const auto bad = [](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
    return fail(Code::kInvalidArgument, "blobs.s3_bad_setting",
                fmt::format("s3.{} is {}; it may be from {} to {}.", name, value, least, most), "Correct the setting.");
  };
  const auto check = [&](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) -> Result<void> {
    if (value < least || value > most) return bad(name, value, least, most);
    return {};
  };
  TM_CHECK(check("part_bytes", static_cast<std::int64_t>(settings.part_bytes), kPartBytesMin, kPartBytesMax));
  TM_CHECK(check("transfers_max", settings.transfers_max, 1, kTransfersMax));
  TM_CHECK(check("attempts_max", settings.attempts_max, 1, 100));
  TM_CHECK(check("backoff_ms", settings.backoff_ms, 0, 60'000));
  TM_CHECK(check("backoff_ms_max", settings.backoff_ms_max, 0, 600'000));
  TM_CHECK(check("connect_timeout_ms", settings.connect_timeout_ms, 1, 600'000));
  TM_CHECK(check("stall_timeout_ms", settings.stall_timeout_ms, 1, 3'600'000));
  return check("request_timeout_ms", settings.request_timeout_ms, 1, 86'400'000);
}

Result<void> check_names(const S3Bucket& bucket, std::string_view url) {
  const auto in_name = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  bool good = bucket.name.size() >= 3 && bucket.name.size() <= 63 && bucket.name.front() != '.' &&
              std::ranges::all_of(bucket.name, in_name) && bucket.prefix.size() <= 512 &&
              !bucket.prefix.starts_with('/') && !bucket.prefix.contains("//");
  for (const char c : bucket.prefix) good = good && static_cast<unsigned char>(c) > ' ' && c != '<' && c != '&';
  for (const char* dots : {"/./", "/../"}) good = good && !("/" + bucket.prefix).contains(dots);
  if (good) return {};
  return fail(Code::kInvalidArgument, "blobs.s3_bad_url", fmt::format("'{}' names no bucket.", url),
              "Write s3://BUCKET or s3://BUCKET/PREFIX.");
}

}  // namespace

Result<S3Bucket> s3_bucket(std::string_view url, const S3Settings& settings, const Environment& environment) {
  S3Bucket bucket{"", "", settings, {}};
  if (url.starts_with(kScheme)) {
    const std::string_view rest = url.substr(kScheme.size());
    bucket.name = rest.substr(0, rest.find('/'));
    bucket.prefix = rest.substr(std::min(bucket.name.size() + 1, rest.size()));
    if (!bucket.prefix.empty() && !bucket.prefix.ends_with('/')) bucket.prefix += '/';
  }
  TM_CHECK(check_names(bucket, url));
  S3Settings& full = bucket.settings;
  if (full.region.empty()) full.region = first_of(environment, {"AWS_REGION", "AWS_DEFAULT_REGION"}, "us-east-1");
  if (full.endpoint.empty()) {
    full.endpoint = first_of(environment, {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"},
                             fmt::format("https://s3.{}.amazonaws.com", full.region));
  }
  while (full.endpoint.ends_with('/')) full.endpoint.pop_back();
  TM_CHECK(check_settings(full));
  bucket.credentials = TM_TRY(find_credentials(full, environment));
  return bucket;
}

ChunkSizes s3_chunk_sizes() { return {256 << 10, 1 << 20, 4 << 20}; }

Result<std::unique_ptr<Store>> S3Store::create(S3Bucket bucket, const Clock& clock, Options options) {
  TM_CHECK(check_chunk_sizes(options.sizes));
  return std::make_unique<ChunkedStore>(TM_TRY(open_bucket(std::move(bucket), clock)), options);
}

}  // namespace tidemill::blobs
