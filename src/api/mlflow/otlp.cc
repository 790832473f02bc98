#include "api/mlflow/otlp.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>

namespace tidemill::mlflow::otlp {
namespace {

constexpr std::size_t kTraceIdBytes = 16;
constexpr std::size_t kSpanIdBytes = 8;
constexpr std::size_t kPieceBytes = 64 * 1024;
constexpr int kGzip = MAX_WBITS + 16;
constexpr int kZlib = MAX_WBITS;
constexpr int kBare = -MAX_WBITS;

// Ends zlib's stream with its scope.
class Inflater {
 public:
  explicit Inflater(int window_bits) : ready_(inflateInit2(&stream_, window_bits) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  Result<std::string> run(std::string_view packed, std::int64_t bytes_max) {
    if (!ready_) return malformed("zlib does not start");
    std::string out;
    std::array<char, kPieceBytes> piece{};
    // zlib's C interface takes what it only reads without const.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream_.avail_in = static_cast<uInt>(packed.size());
    int state = Z_OK;
    while (state != Z_STREAM_END) {
      stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
      stream_.avail_out = static_cast<uInt>(piece.size());
      state = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t got = piece.size() - stream_.avail_out;
      if (state != Z_OK && state != Z_STREAM_END) return malformed("the packed body is damaged or cut off");
      out.append(piece.data(), got);
      if (static_cast<std::int64_t>(out.size()) > bytes_max) {
        return fail(Code::kTooLarge, "otlp.too_large",
                    fmt::format("The body unpacks to more than {} bytes.", bytes_max), "Send fewer spans at once.");
      }
    }
    return out;
  }

 private:
  z_stream stream_{};
  const bool ready_;
};

bool is_id(std::string_view bytes, std::size_t length) {
  return bytes.size() == length && std::ranges::any_of(bytes, [](char c) { return c != 0; });
}

}  // namespace

std::unexpected<Error> malformed(std::string_view why) {
  return fail(Code::kInvalidArgument, "otlp.malformed", fmt::format("Invalid OpenTelemetry format: {}.", why),
              "Send an ExportTraceServiceRequest.");
}

Result<void> check_ids(const Span& span) {
  if (!is_id(span.trace_id, kTraceIdBytes)) return malformed("a span's trace_id is not 16 bytes");
  if (!is_id(span.span_id, kSpanIdBytes)) return malformed("a span's span_id is not 8 bytes");
  if (!span.parent_id.empty() && !is_id(span.parent_id, kSpanIdBytes)) {
    return malformed("a span's parent_span_id is not 8 bytes");
  }
  return {};
}

Result<std::string> unpack(std::string_view body, std::string_view encoding, std::int64_t bytes_max) {
  std::string word(encoding);
  std::ranges::transform(word, word.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (word.empty() || word == "identity") return std::string(body);
  if (word == "gzip") return Inflater(kGzip).run(body, bytes_max);
  if (word == "deflate") {
    auto out = Inflater(kZlib).run(body, bytes_max);
    return out || out.error().code == Code::kTooLarge ? std::move(out) : Inflater(kBare).run(body, bytes_max);
  }
  return malformed(fmt::format("the Content-Encoding '{}' is not known; use gzip", word.substr(0, 32)));
}

}  // namespace tidemill::mlflow::otlp
