// AWS Signature Version 4 for S3. Private to this room.
//
// Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3 API Reference;
// its examples are the tests. libcurl's own signing (7.88) takes the query as it stands, neither sorted nor completed,
// and is refused by strict servers.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/blobs/s3.h"

namespace tidemill::blobs {

using S3Query = std::vector<std::pair<std::string, std::string>>;  // not encoded

struct ToSign {
  std::string method;
  std::string path;  // percent-encoded, from '/'
  S3Query query;
  // By lowercase name; all are signed. Must have host, x-amz-date (20130524T000000Z) and x-amz-content-sha256.
  std::map<std::string, std::string> headers;
};

// Returns the text with every byte but A-Z a-z 0-9 - . _ ~ as %XX; '/' stays where `keep_slash`.
[[nodiscard]] std::string percent_encode(std::string_view text, bool keep_slash);

// Returns "a=1&b=", encoded and sorted, as it is signed and must be sent.
[[nodiscard]] std::string query_string(const S3Query& query);

// Returns the value of the header Authorization.
[[nodiscard]] std::string authorization(const ToSign& request, const S3Credentials& credentials,
                                        std::string_view region);

}  // namespace tidemill::blobs
