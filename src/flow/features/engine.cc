#include "flow/features/engine.h"

#include <fmt/format.h>

#include <bit>
#include <string>
#include <utility>

namespace tidemill::features {
namespace {

using tables::Column;
using tables::Type;

// Where one row's key stands in its group.
struct Place {
  const Series* series = nullptr;  // null: no such key
  std::size_t known = 0;           // its rows known before the tick
};

// Makes a column of `rows` values, all missing.
Column missing_column(const std::string& name, Type type, std::size_t rows) {
  Column column = Column::make(name, type);
  std::visit([&](auto& values) { values.resize(rows); }, column.values);
  column.valid.assign(rows, 0);
  return column;
}

void set_number(Column& column, std::size_t row, double value) {
  std::get<std::vector<double>>(column.values)[row] = value;
  column.valid[row] = 1;
}

void set_whole(Column& column, std::size_t row, std::int64_t value) {
  std::get<std::vector<std::int64_t>>(column.values)[row] = value;
  column.valid[row] = 1;
}

// An empty `valid` says that all are there; writers and readers take the short way then.
void tidy(Column& column) {
  if (column.missing() == 0) column.valid.clear();
}

void set_cell(Column& column, std::size_t row, const Cell& cell, Type held, const SourceMemory& source) {
  if (!cell.there) return;
  const auto whole = static_cast<std::int64_t>(cell.bits);
  switch (column.type) {
    case Type::text:
      std::get<std::vector<std::string>>(column.values)[row] = source.text(cell.bits);
      break;
    case Type::boolean:
      std::get<std::vector<std::uint8_t>>(column.values)[row] = static_cast<std::uint8_t>(cell.bits);
      break;
    case Type::real:
      std::get<std::vector<double>>(column.values)[row] =
          held == Type::real ? std::bit_cast<double>(cell.bits) : static_cast<double>(whole);
      break;
    default:
      std::get<std::vector<std::int64_t>>(column.values)[row] = whole;
  }
  column.valid[row] = 1;
}

class Computation {
 public:
  Computation(const Plan& plan, std::span<const SourceMemory* const> sources, const TypedColumns& request,
              std::span<const std::int64_t> ticks)
      : plan_(plan), sources_(sources), request_(request), ticks_(ticks) {}

  // Finds the series of every row for the probe, and the slot that as-of features take.
  void probe(const Probe& probe) {
    places_.resize(ticks_.size());
    for (std::size_t row = 0; row < ticks_.size(); ++row) {
      Place place;
      if (key_of(request_, probe.by, row, key_)) place.series = sources_[probe.source]->find(probe.group, key_);
      if (place.series != nullptr) place.known = place.series->known_before(ticks_[row]);
      places_[row] = place;
    }
    newest_age_ms_ = -1;
  }

  [[nodiscard]] Column feature(const FeaturePlan& feature) {
    Column out = missing_column(feature.name, feature.type, ticks_.size());
    if (feature.kind == Kind::window) {
      window(feature, out);
    } else {
      take(feature, out);
    }
    tidy(out);
    return out;
  }

 private:
  void take(const FeaturePlan& feature, Column& out) {
    const Probe& probe = plan_.probes[feature.probe];
    const SourcePlan& source = plan_.sources[probe.source];
    const Type held = source.columns[source.groups[probe.group].cells[feature.cell]].type;
    if (newest_age_ms_ != feature.span_ms) {  // columns of one as-of row share its search
      newest_.resize(ticks_.size());
      for (std::size_t row = 0; row < ticks_.size(); ++row) {
        const Place& place = places_[row];
        newest_[row] =
            place.series == nullptr ? kNone : place.series->newest(ticks_[row], place.known, feature.span_ms);
      }
      newest_age_ms_ = feature.span_ms;
    }
    for (std::size_t row = 0; row < ticks_.size(); ++row) {
      if (newest_[row] == kNone) continue;
      set_cell(out, row, places_[row].series->cell(newest_[row], feature.cell), held, *sources_[probe.source]);
    }
  }

  void window(const FeaturePlan& feature, Column& out) const {
    const Probe& probe = plan_.probes[feature.probe];
    for (std::size_t row = 0; row < ticks_.size(); ++row) {
      const Place& place = places_[row];
      Series::Total total;
      if (place.series != nullptr) {
        total = place.series->total(feature.sum, ticks_[row], place.known, feature.span_ms);
      } else if (feature.function == Function::count && !has_key(probe, row)) {
        continue;  // nobody asked about a key: not zero rows, but no answer
      }
      if (feature.function == Function::count) {
        set_whole(out, row, total.count);
      } else if (total.count > 0) {
        const double sum = from_fixed(total.sum);
        set_number(out, row, feature.function == Function::sum ? sum : sum / static_cast<double>(total.count));
      }
    }
  }

  [[nodiscard]] bool has_key(const Probe& probe, std::size_t row) const {
    for (const std::size_t part : probe.by) {
      if (request_[part] == nullptr || request_[part]->is_missing(row)) return false;
    }
    return true;
  }

  const Plan& plan_;
  const std::span<const SourceMemory* const> sources_;
  const TypedColumns& request_;
  const std::span<const std::int64_t> ticks_;
  std::vector<Place> places_;
  std::vector<std::size_t> newest_;
  std::int64_t newest_age_ms_ = -1;  // for which newest_ holds
  std::string key_;
};

}  // namespace

Result<tables::Frame> compute(const Plan& plan, std::span<const SourceMemory* const> sources,
                              const tables::Frame& request, std::span<const std::int64_t> at_ms) {
  std::vector<tables::ColumnType> wanted;
  for (const RequestColumn& column : plan.view.definition.request) wanted.push_back({column.name, column.type});
  const TypedColumns columns = TM_TRY(TypedColumns::of(request, wanted, "The request", true));
  std::vector<std::int64_t> ticks;
  ticks.reserve(at_ms.size());
  for (const std::int64_t at : at_ms) ticks.push_back(plan.tick_ms(at));

  tables::Frame out;
  out.rows = request.rows;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!plan.view.definition.request[i].feature) continue;
    out.columns.push_back(columns[i] != nullptr ? *columns[i]
                                                : missing_column(wanted[i].name, wanted[i].type, out.rows));
  }
  const std::size_t first = out.columns.size();
  out.columns.resize(first + plan.features.size());
  Computation computation(plan, sources, columns, ticks);
  for (std::size_t p = 0; p < plan.probes.size(); ++p) {
    computation.probe(plan.probes[p]);
    for (std::size_t f = 0; f < plan.features.size(); ++f) {
      if (plan.features[f].probe == p) out.columns[first + f] = computation.feature(plan.features[f]);
    }
  }
  return out;
}

}  // namespace tidemill::features
