// Any bytes as spans, in Protobuf and in JSON: refused as kInvalidArgument, or read into spans whose ids have their
// lengths and whose values can be written as JSON and read back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/mlflow/otlp.h"

namespace {

constexpr std::int64_t kNestingMax = 20;
constexpr std::int64_t kBytesMax = 1 << 20;

void check(const tidemill::Result<std::vector<tidemill::mlflow::otlp::ResourceSpans>>& parts) {
  using namespace tidemill;
  if (!parts) {
    if (parts.error().code != Code::kInvalidArgument && parts.error().code != Code::kTooLarge) std::abort();
    return;
  }
  for (const auto& part : *parts) {
    for (const auto& span : part.spans) {
      if (span.trace_id.size() != 16 || span.span_id.size() != 8) std::abort();
      if (!json::parse(json::serialize(span.attributes))) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tidemill::mlflow;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(otlp::read_protobuf(bytes, kNestingMax));
  check(otlp::read_json(bytes, kNestingMax));
  for (const char* encoding : {"gzip", "deflate"}) {
    const auto body = otlp::unpack(bytes, encoding, kBytesMax);
    if (body && body->size() > kBytesMax) std::abort();
  }
  return 0;
}
