#include "cli/print.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/clock.h"

namespace tidemill::cli {
namespace {

constexpr std::size_t kCellWidthMax = 60;
constexpr std::size_t kNestedCellWidthMax = 64;  // a SHA-256 is not cut
constexpr std::size_t kLineWidthMax = 120;
constexpr std::size_t kBlocksMax = 5;  // of a list whose items make no table
constexpr std::size_t kNumberLengthMax = 12;
constexpr std::size_t kIndent = 2;
constexpr std::int64_t kMomentMsMin = 100'000'000'000;  // 1973: below it a "…_ms" is a length of time
constexpr std::string_view kNothing = "-";

using Lines = std::vector<std::vector<std::string>>;

// Returns how many columns a terminal gives to UTF-8 text: East Asian wide characters take two.
std::size_t shown_width(std::string_view text) {
  std::size_t width = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;
    width += byte >= 0xE3 && byte <= 0xEF ? 2 : 1;
  }
  return width;
}

std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

std::string cut(std::string text, std::size_t width_max) {
  if (text.size() <= width_max) return text;
  std::size_t end = width_max - 1;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

bool is_moment(const json::Value& value, std::string_view key) {
  return key.ends_with("_ms") && value.is_int64() && value.get_int64() > kMomentMsMin;
}

bool is_empty(const json::Value& value) {
  return value.is_null() || (value.is_string() && value.get_string().empty()) ||
         (value.is_array() && value.get_array().empty()) || (value.is_object() && value.get_object().empty());
}

// What fits on one line: scalars, lists of scalars, and what is empty.
bool is_plain(const json::Value& value) {
  if (value.is_object()) return value.get_object().empty();
  return !value.is_array() ||
         std::ranges::none_of(value.get_array(), [](const json::Value& item) { return item.is_structured(); });
}

bool is_list_of_objects(const json::Value& value) {
  return value.is_array() && !value.get_array().empty() &&
         std::ranges::all_of(value.get_array(), [](const json::Value& item) { return item.is_object(); });
}

// Objects under names of somebody's choice, all with the same fields, such as the files of a version.
bool is_map_of_likes(const json::Object& object) {
  const json::Object* first = nullptr;
  for (const auto& entry : object) {
    const json::Object* item = entry.value().if_object();
    if (item == nullptr || item->empty()) return false;
    if (first == nullptr) first = item;
    if (item->size() != first->size()) return false;
    for (const auto& field : *item) {
      if (!first->contains(field.key()) || !is_plain(field.value())) return false;
    }
  }
  return first != nullptr;
}

std::string heading_of(std::string_view path, bool moment) {
  if (moment) path.remove_suffix(3);  // "_ms"
  std::string heading;
  for (const char c : path) heading += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : (c == '_' ? ' ' : c);
  return printable(heading);
}

// The cells of a table by the paths of its columns; objects inside an item give columns such as "rule.metric".
class Grid {
 public:
  void add(const json::Object& item) {
    rows_.emplace_back();
    add_fields(item, "");
  }

  // Returns heading and lines without the columns that are empty in every row.
  [[nodiscard]] Lines lines() const {
    Lines lines(rows_.size() + 1);
    for (const auto& path : paths_) {
      bool moment = false;
      for (const auto& row : rows_) {
        if (const auto found = row.find(path); found != row.end()) moment = moment || is_moment(*found->second, path);
      }
      lines.front().push_back(heading_of(path, moment));
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        const auto found = rows_[i].find(path);
        lines[i + 1].push_back(value_text(found == rows_[i].end() ? nullptr : found->second, path));
      }
    }
    return lines;
  }
  // The names of fields that no cell can hold.
  [[nodiscard]] const std::vector<std::string>& beyond() const { return beyond_; }

 private:
  void add_fields(const json::Object& item, const std::string& prefix) {
    for (const auto& entry : item) {
      const std::string path = prefix + std::string(entry.key());
      if (is_empty(entry.value())) continue;
      if (is_plain(entry.value())) {
        note(paths_, path);
        rows_.back().emplace(path, &entry.value());
      } else if (entry.value().is_object()) {
        add_fields(entry.value().get_object(), path + ".");
      } else {
        note(beyond_, path);
      }
    }
  }
  static void note(std::vector<std::string>& list, const std::string& path) {
    if (std::ranges::find(list, path) == list.end()) list.push_back(path);
  }

  std::vector<std::map<std::string, const json::Value*>> rows_;
  std::vector<std::string> paths_;  // in the order of their first appearance
  std::vector<std::string> beyond_;
};

std::vector<std::size_t> widths_of(const Lines& lines) {
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], shown_width(line[i]));
  }
  return widths;
}

std::string aligned(const Lines& lines, std::size_t indent) {
  const auto widths = widths_of(lines);
  std::string text;
  for (const auto& line : lines) {
    text += std::string(indent, ' ');
    for (std::size_t i = 0; i < line.size(); ++i) {
      text += line[i];
      if (i + 1 < line.size()) text += std::string(widths[i] - shown_width(line[i]) + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

bool fits(const Lines& lines, std::size_t indent) {
  std::size_t width = indent;
  for (const std::size_t column : widths_of(lines)) {
    if (column > kNestedCellWidthMax) return false;
    width += column + 2;
  }
  return width <= kLineWidthMax + 2;
}

// Cuts cells, then takes columns away from the right until the table fits; returns their headings.
std::vector<std::string> make_fit(Lines& lines, std::size_t indent) {
  for (auto& line : lines) {
    for (auto& one : line) one = cut(std::move(one), kNestedCellWidthMax);
  }
  std::vector<std::string> gone;
  while (!fits(lines, indent) && lines.front().size() > 1) {
    gone.insert(gone.begin(), lines.front().back());
    for (auto& line : lines) line.pop_back();
  }
  return gone;
}

std::string fields_text(const json::Object& object, std::size_t indent);

std::string list_text(const json::Array& items, std::size_t indent) {
  Grid grid;
  for (const auto& item : items) grid.add(item.get_object());
  Lines lines = grid.lines();
  if (grid.beyond().empty() && !lines.front().empty() && fits(lines, indent)) return aligned(lines, indent);
  if (items.size() <= kBlocksMax) {
    std::string text;
    for (std::size_t i = 0; i < items.size(); ++i) {
      text += fmt::format("{}{}.\n{}", std::string(indent, ' '), i + 1,
                          fields_text(items[i].get_object(), indent + kIndent));
    }
    return text;
  }
  std::vector<std::string> gone = make_fit(lines, indent);
  for (const auto& path : grid.beyond()) gone.push_back(heading_of(path, false));
  return fmt::format("{}{}--json also has: {}\n", aligned(lines, indent), std::string(indent, ' '),
                     fmt::join(gone, ", "));
}

std::string map_text(const json::Object& object, std::size_t indent) {
  json::Array items;
  for (const auto& entry : object) {
    json::Object item{{"name", entry.key()}};
    for (const auto& field : entry.value().get_object()) item[field.key()] = field.value();
    items.push_back(std::move(item));
  }
  return list_text(items, indent);
}

// A list of scalars that is too long for a line goes on in the next one, below its beginning.
std::string wrapped(const json::Array& items, std::size_t indent) {
  std::string text;
  std::size_t width = indent;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item = value_text(&items[i], "") + (i + 1 < items.size() ? "," : "");
    if (i > 0 && width + 1 + shown_width(item) > kLineWidthMax) {
      text += "\n" + std::string(indent, ' ');
      width = indent;
    } else if (i > 0) {
      text += ' ';
      ++width;
    }
    text += item;
    width += shown_width(item);
  }
  return text;
}

std::string nested_text(const json::Value& value, std::size_t indent) {
  if (is_list_of_objects(value)) return list_text(value.get_array(), indent);
  if (value.is_object()) {
    const json::Object& object = value.get_object();
    return is_map_of_likes(object) ? map_text(object, indent) : fields_text(object, indent);
  }
  std::string text;  // a list of lists, or a mixed one
  for (const auto& item : value.get_array()) {
    text += is_plain(item) ? std::string(indent, ' ') + value_text(&item, "") + "\n"
                           : std::string(indent, ' ') + "-\n" + nested_text(item, indent + kIndent);
  }
  return text;
}

bool has_lines(const json::Value& value) {
  return value.is_string() && std::string_view(value.get_string()).find('\n') != std::string_view::npos;
}

// A text of several lines, such as the definition of a pipeline, each of them indented.
std::string lines_text(std::string_view text, std::size_t indent) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += std::string(indent, ' ') + printable(std::string(text.substr(0, end))) + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string fields_text(const json::Object& object, std::size_t indent) {
  std::size_t width = 0;
  for (const auto& entry : object) {
    if (is_plain(entry.value()) && !has_lines(entry.value())) width = std::max(width, shown_width(entry.key()));
  }
  std::string text;
  for (const auto& entry : object) {
    const std::string key = printable(std::string(entry.key()));
    text += std::string(indent, ' ') + key;
    if (has_lines(entry.value())) {
      text += "\n" + lines_text(entry.value().get_string(), indent + kIndent);
      continue;
    }
    if (!is_plain(entry.value())) {
      text += "\n" + nested_text(entry.value(), indent + kIndent);
      continue;
    }
    text += std::string(width - shown_width(key) + 2, ' ');
    const json::Array* items = entry.value().if_array();
    text += items != nullptr && !items->empty() ? wrapped(*items, indent + width + 2) : value_text(&entry.value(), key);
    text += '\n';
  }
  return text;
}

}  // namespace

const json::Value* at_path(const json::Value& value, std::string_view path) {
  const json::Value* here = &value;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    const std::string_view key = path.substr(0, dot);
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    const auto* object = here->if_object();
    here = object == nullptr ? nullptr : object->if_contains(key);
    if (here == nullptr) return nullptr;
  }
  return here;
}

std::string value_text(const json::Value* value, std::string_view key) {
  if (value == nullptr || is_empty(*value)) return std::string(kNothing);
  if (is_moment(*value, key)) return format_utc(value->get_int64()).substr(0, 19) + "Z";
  if (value->is_string()) return printable(std::string(value->get_string()));
  if (value->is_double()) {
    const std::string shortest = fmt::format("{}", value->get_double());
    return shortest.size() <= kNumberLengthMax ? shortest : fmt::format("{:.6g}", value->get_double());
  }
  if (value->is_array()) {
    std::string text;
    for (const auto& item : value->get_array()) text += (text.empty() ? "" : ", ") + value_text(&item, "");
    return text;
  }
  return printable(json::serialize(*value));
}

std::string table_text(const json::Value* rows, const std::vector<Column>& columns) {
  if (rows == nullptr || !rows->is_array() || rows->get_array().empty()) return "";
  Lines lines(1);
  for (const auto& column : columns) lines.front().push_back(column.heading);
  for (const auto& row : rows->get_array()) {
    lines.emplace_back();
    for (const auto& column : columns)
      lines.back().push_back(cut(value_text(at_path(row, column.path), column.path), kCellWidthMax));
  }
  return aligned(lines, 0);
}

std::string object_text(const json::Object& object) { return fields_text(object, 0); }

}  // namespace tidemill::cli
