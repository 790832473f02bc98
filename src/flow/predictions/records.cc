#include "flow/predictions/records.h"

#include <span>

#include "flow/predictions/wire.h"

namespace tidemill::predictions {
namespace {

// First byte of a record. Numbers are kept for ever: old journals must stay readable.
constexpr std::uint8_t kBatch = 1;
constexpr std::uint8_t kLabels = 2;

void put(WireWriter& out, const Batch& batch) {
  out.put(kBatch);
  out.put_text(batch.deployment);
  out.put_text(batch.model);
  out.put(batch.version);
  out.put(static_cast<std::uint8_t>(batch.role));
  out.put(batch.logged_ms);
  out.put(static_cast<std::uint32_t>(batch.ids.size()));
  out.put(batch.width);
  for (const auto& id : batch.ids) out.put_text(id);
  out.put_all(std::span<const std::int64_t>(batch.at_ms));
  out.put_all(std::span<const double>(batch.scores));
  out.put_all(std::span<const float>(batch.features));
}

void put(WireWriter& out, const LabelBatch& batch) {
  out.put(kLabels);
  out.put_text(batch.deployment);
  out.put(batch.until_ms);
  out.put(static_cast<std::uint32_t>(batch.labels.size()));
  for (const auto& label : batch.labels) {
    out.put_text(label.id);
    out.put(static_cast<std::int8_t>(label.label));
    out.put(label.at_ms);
  }
}

Batch get_batch(WireReader& in) {
  Batch batch;
  batch.deployment = in.get_text();
  batch.model = in.get_text();
  batch.version = in.get<std::int64_t>();
  batch.role = static_cast<Role>(in.get<std::uint8_t>());
  batch.logged_ms = in.get<std::int64_t>();
  const auto rows = in.get<std::uint32_t>();
  batch.width = in.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < rows && in.good(); ++i) batch.ids.push_back(in.get_text());
  batch.at_ms = in.get_all<std::int64_t>(rows);
  batch.scores = in.get_all<double>(rows);
  batch.features = in.get_all<float>(static_cast<std::size_t>(rows) * batch.width);
  return batch;
}

LabelBatch get_labels(WireReader& in) {
  LabelBatch batch;
  batch.deployment = in.get_text();
  batch.until_ms = in.get<std::int64_t>();
  const auto rows = in.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < rows && in.good(); ++i) {
    Label label;
    label.id = in.get_text();
    label.label = in.get<std::int8_t>();
    label.at_ms = in.get<std::int64_t>();
    batch.labels.push_back(std::move(label));
  }
  return batch;
}

}  // namespace

std::string encode_records(const std::vector<Record>& records) {
  WireWriter out;
  for (const auto& record : records) std::visit([&](const auto& batch) { put(out, batch); }, record);
  return out.take();
}

Result<std::vector<Record>> decode_records(std::string_view payload) {
  WireReader in(payload);
  std::vector<Record> records;
  while (in.good() && !in.at_end()) {
    switch (in.get<std::uint8_t>()) {
      case kBatch:
        records.emplace_back(get_batch(in));
        break;
      case kLabels:
        records.emplace_back(get_labels(in));
        break;
      default:
        return fail(Code::kInternal, "predictions.unknown_record",
                    "The prediction log holds a record of an unknown kind.", "Start a newer version.");
    }
  }
  if (in.good()) return records;
  return fail(Code::kInternal, "predictions.short_record", "The prediction log holds a record that ends too early.",
              "Restore it from a backup.");
}

}  // namespace tidemill::predictions
