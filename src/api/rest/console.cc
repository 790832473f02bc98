#include "api/rest/console.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/hash.h"

namespace tidemill::rest {
namespace {

// No script but our own files runs, nothing is loaded from or sent elsewhere, and nobody frames the page.
constexpr const char* kPolicy =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri "
    "'none'; "
    "form-action 'self'";
constexpr const char* kForEver = "public, max-age=31536000, immutable";
constexpr const char* kAskEachTime = "no-cache";
constexpr const char* kIndex = "index.html";
constexpr const char* kNotBuilt =
    "<!doctype html><title>Tidemill</title><p>This binary was built without the console. / 此程序未包含控制台。"
    "<p>Run tools/setup web, then build again. The API is at <a href=\"/api/openapi.json\">/api/openapi.json</a>.";

constexpr std::array<std::pair<std::string_view, const char*>, 11> kTypes{{{".html", "text/html; charset=utf-8"},
                                                                           {".js", "text/javascript; charset=utf-8"},
                                                                           {".css", "text/css; charset=utf-8"},
                                                                           {".json", "application/json"},
                                                                           {".map", "application/json"},
                                                                           {".svg", "image/svg+xml"},
                                                                           {".png", "image/png"},
                                                                           {".ico", "image/x-icon"},
                                                                           {".woff2", "font/woff2"},
                                                                           {".txt", "text/plain; charset=utf-8"},
                                                                           {".wasm", "application/wasm"}}};

struct Served {
  std::string_view bytes;
  std::string etag;
};
using Files = std::map<std::string, Served, std::less<>>;

std::string type_of(std::string_view path) {
  const auto* found = std::ranges::find_if(kTypes, [&](const auto& type) { return path.ends_with(type.first); });
  return found == kTypes.end() ? "application/octet-stream" : found->second;
}

// "assets/index-4f2a.js" names a file, "models/flight-delay" a page of the console.
bool names_file(std::string_view path) {
  return path.starts_with("assets/") || path.substr(path.rfind('/') + 1).find('.') != std::string_view::npos;
}

http::Response served(const http::Request& request, std::string_view path, const Served& file) {
  http::Response response = http::Response::text(200, std::string(file.bytes), type_of(path));
  response.headers.emplace_back("Content-Security-Policy", kPolicy);
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  response.headers.emplace_back("Cache-Control", path.starts_with("assets/") ? kForEver : kAskEachTime);
  response.headers.emplace_back("ETag", file.etag);
  if (request.headers.get("If-None-Match") == file.etag) {
    response.status = 304;
    response.body.clear();
  }
  return response;
}

http::Response answer(const http::Request& request, const Files& files) {
  std::string_view path = request.path;
  while (path.starts_with('/')) path.remove_prefix(1);
  auto found = files.find(path);
  if (found == files.end() && !names_file(path)) found = files.find(std::string_view(kIndex));
  if (found != files.end()) return served(request, found->first, found->second);
  return http::Response::error({Code::kNotFound,
                                "http.no_route",
                                "There is nothing at '/" + std::string(path.substr(0, 200)) + "'.",
                                "See /api/openapi.json for what there is.",
                                {}});
}

}  // namespace

http::Route console_route(std::span<const Asset> assets) {
  auto files = std::make_shared<Files>();
  for (const auto& asset : assets) {
    (*files)[std::string(asset.path)] = {asset.bytes, "\"" + sha256_hex(asset.bytes).substr(0, 32) + "\""};
  }
  if (!files->contains(std::string_view(kIndex))) (*files)[kIndex] = {kNotBuilt, "\"none\""};
  return http::raw(http::Method::get, "/{path...}", http::Right::open, "The console", http::Body::none,
                   [files = std::shared_ptr<const Files>(std::move(files))](
                       http::Request&& request, const http::Done& done) { done(answer(request, *files)); },
                   {.run = http::Run::inline_io, .content_type = "text/html"});
}

}  // namespace tidemill::rest
