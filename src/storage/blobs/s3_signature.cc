#include "storage/blobs/s3_signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "base/hash.h"

namespace tidemill::blobs {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kScopeEnd = "aws4_request";

std::string hmac(std::string_view key, std::string_view text) {
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), reinterpret_cast<unsigned char*>(digest.data()), &length);
  digest.resize(length);
  return digest;
}

std::string signed_names(const ToSign& request) {
  std::string names;
  for (const auto& [name, value] : request.headers) names += (names.empty() ? "" : ";") + name;
  return names;
}

std::string canonical_request(const ToSign& request) {
  std::string text = fmt::format("{}\n{}\n{}\n", request.method, request.path, query_string(request.query));
  for (const auto& [name, value] : request.headers) text += fmt::format("{}:{}\n", name, value);
  return text + fmt::format("\n{}\n{}", signed_names(request), request.headers.at("x-amz-content-sha256"));
}

}  // namespace

std::string percent_encode(std::string_view text, bool keep_slash) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string encoded;
  for (const char c : text) {
    if (kPlain.contains(c) || (keep_slash && c == '/')) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string query_string(const S3Query& query) {
  S3Query encoded;
  encoded.reserve(query.size());
  for (const auto& [name, value] : query) {
    encoded.emplace_back(percent_encode(name, false), percent_encode(value, false));
  }
  std::ranges::sort(encoded);
  std::string text;
  for (const auto& [name, value] : encoded) text += fmt::format("{}{}={}", text.empty() ? "" : "&", name, value);
  return text;
}

std::string authorization(const ToSign& request, const S3Credentials& credentials, std::string_view region) {
  const std::string& time = request.headers.at("x-amz-date");
  const std::string day = time.substr(0, 8);
  const std::string scope = fmt::format("{}/{}/s3/{}", day, region, kScopeEnd);
  const std::string text =
      fmt::format("{}\n{}\n{}\n{}", kAlgorithm, time, scope, sha256_hex(canonical_request(request)));
  const std::string key = hmac(hmac(hmac(hmac("AWS4" + credentials.secret_key, day), region), "s3"), kScopeEnd);
  return fmt::format("{} Credential={}/{},SignedHeaders={},Signature={}", kAlgorithm, credentials.access_key, scope,
                     signed_names(request), to_hex(hmac(key, text)));
}

}  // namespace tidemill::blobs
