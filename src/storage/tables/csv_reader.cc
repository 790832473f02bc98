#include "storage/tables/csv_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>

#include "storage/tables/utf8.h"

namespace tidemill::tables {
namespace {

constexpr std::string_view kDelimiters = ",;\t|";

std::string_view without_blank_start(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of("\r\n"), text.size()));
}

// Returns the delimiter that stands most often outside of quotes in the first line that is not blank.
char find_delimiter(std::string_view text) {
  std::array<std::size_t, 4> counts{};
  bool quoted = false;
  for (const char c : without_blank_start(text)) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '\n' || c == '\r') break;
    if (const auto which = kDelimiters.find(c); which != std::string_view::npos) ++counts[which];
  }
  return kDelimiters[static_cast<std::size_t>(std::ranges::max_element(counts) - counts.begin())];
}

// Returns whether the text has a line that is not blank, with its end.
bool has_whole_line(std::string_view text) {
  bool quoted = false;
  for (const char c : without_blank_start(text)) {
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == '\n' || c == '\r')) return true;
  }
  return false;
}

std::string lower_ascii(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

std::string shown(std::string_view text) {
  constexpr std::size_t kShownMax = 40;
  std::string out;
  for (const char c : text.substr(0, kShownMax)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out;
}

}  // namespace

CsvReader::CsvReader(std::filesystem::path file, FileDescriptor descriptor, const CsvOptions& options)
    : file_(std::move(file)),
      options_(options),
      descriptor_(std::move(descriptor)),
      buffer_(std::max<std::size_t>(16, std::min(options.read_bytes, options.row_bytes_max)), '\0') {}

std::unexpected<Error> CsvReader::wrong(std::string_view reason, std::string_view what, std::string_view remedy) const {
  return fail(Code::kInvalidArgument, std::string(reason), fmt::format("Line {} of the CSV {}.", line_, what),
              std::string(remedy), {{"line", std::to_string(line_)}});
}

Result<CsvReader> CsvReader::open(const std::filesystem::path& file, const CsvOptions& options) {
  FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.open()) return fail(errno_error("open", file, errno));
  ::posix_fadvise(descriptor.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  CsvReader reader(file, std::move(descriptor), options);
  TM_CHECK(reader.refill());
  TM_CHECK(reader.check_start());
  TM_CHECK(reader.read_header());
  return reader;
}

// Tells files that are no CSV at all by what they are, rather than by their first odd byte.
Result<void> CsvReader::check_start() {
  line_ = 1;
  const std::string_view start(buffer_.data(), filled_);
  if (start.empty()) {
    return fail(Code::kInvalidArgument, "csv.empty", "The CSV file is empty.",
                "Give a file with a header line and rows.");
  }
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF"))
    return wrong("csv.not_utf8", "is UTF-16", "Save the file as UTF-8.");
  if (start.starts_with("PAR1")) return wrong("csv.binary", "is Parquet", "Name the file .parquet.");
  if (start.starts_with("PK\x03\x04") || start.starts_with("\x1F\x8B")) {
    return wrong("csv.binary", "is an archive or a workbook", "Unpack it, or export the sheet as CSV.");
  }
  if (start.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  // The whole header decides on the delimiter, however much of the file has been read so far.
  while (!at_end_ && !has_whole_line(std::string_view(buffer_).substr(begin_, filled_ - begin_))) TM_CHECK(refill());
  delimiter_ = find_delimiter(std::string_view(buffer_).substr(begin_, filled_ - begin_));
  return {};
}

Result<void> CsvReader::read_header() {
  std::vector<Cell> cells;
  if (!TM_TRY(record(cells))) {
    return fail(Code::kInvalidArgument, "csv.empty", "The CSV file has no header.",
                "Give a file with a header line and rows.");
  }
  std::map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string name(cells[i].text);
    if (name.empty()) {
      return wrong("csv.no_name", fmt::format("gives column {} no name", i + 1),
                   "Name every column; pandas: to_csv(index=False).");
    }
    // SQL takes names without regard to case, so these would be one column there.
    const auto [other, fresh] = seen.emplace(lower_ascii(name), i);
    if (!fresh) {
      return wrong("csv.duplicate_name",
                   fmt::format("names columns {} and {} both '{}'", other->second + 1, i + 1, shown(name)),
                   "Give every column a name of its own; upper and lower case count as the same.");
    }
    header_.push_back(name);
  }
  return {};
}

Result<bool> CsvReader::next(std::vector<Cell>& cells) {
  if (!TM_TRY(record(cells))) return false;
  ++row_;
  if (cells.size() != header_.size()) {
    return wrong("csv.ragged", fmt::format("has {} cells where the header has {}", cells.size(), header_.size()),
                 "Give every row as many cells as the header; put cells that hold the delimiter in quotes.");
  }
  return true;
}

// Moves the row being read to the front and reads on behind it.
Result<void> CsvReader::refill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, filled_ - begin_);
  filled_ -= begin_;
  begin_ = 0;
  if (filled_ == buffer_.size()) {
    if (filled_ >= options_.row_bytes_max) {
      return wrong("csv.row_too_large", fmt::format("begins a row of more than {} bytes", options_.row_bytes_max),
                   "Look for a quote that is not closed, or split the row.");
    }
    buffer_.resize(std::min(buffer_.size() * 2, options_.row_bytes_max));
  }
  while (true) {
    const ssize_t got = ::read(descriptor_.get(), buffer_.data() + filled_, buffer_.size() - filled_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("read", file_, errno));
    filled_ += static_cast<std::size_t>(got);
    at_end_ = got == 0;
    return {};
  }
}

Result<bool> CsvReader::record(std::vector<Cell>& cells) {
  while (true) {
    line_ = next_line_;
    switch (TM_TRY(split(cells))) {
      case Step::row:
        return true;
      case Step::blank:
        break;
      case Step::end:
        return false;
      case Step::more:
        TM_CHECK(refill());
        break;
    }
  }
}

// Cuts one row out of the buffer; `more` when its end is not there yet, and then nothing has changed.
Result<CsvReader::Step> CsvReader::split(std::vector<Cell>& cells) {
  cells.clear();
  escaped_.clear();
  if (begin_ == filled_) return at_end_ ? Step::end : Step::more;
  std::size_t at = begin_;
  for (bool row_ended = false; !row_ended;) {
    const bool quoted = at < filled_ && buffer_[at] == '"';
    const Step step = TM_TRY(quoted ? quoted_cell(at, cells) : plain_cell(at, cells));
    if (step == Step::more) return step;
    if (cells.back().text.size() > options_.cell_bytes_max) {
      return wrong("csv.cell_too_large", fmt::format("has a cell of more than {} bytes", options_.cell_bytes_max),
                   "Shorten the cell.");
    }
    if (cells.size() > options_.columns_max) {
      return wrong("csv.too_many_columns", fmt::format("has more than {} columns", options_.columns_max),
                   "Give fewer columns; is another character than , ; tab | between the cells?");
    }
    if (!TM_TRY(end_of_cell(at, row_ended))) return Step::more;
  }
  TM_CHECK(check_row(at));
  const bool blank = cells.size() == 1 && cells[0].text.empty() && !cells[0].quoted;
  next_line_ += static_cast<std::uint64_t>(std::count(buffer_.data() + begin_, buffer_.data() + at, '\n'));
  begin_ = at;
  if (blank && header_.size() != 1) return Step::blank;
  unescape(cells);
  return Step::row;
}

// Takes a cell in quotes; `at` stands on the opening one and then behind the closing one.
Result<CsvReader::Step> CsvReader::quoted_cell(std::size_t& at, std::vector<Cell>& cells) {
  const std::size_t start = at + 1;
  bool escaped = false;
  for (std::size_t from = start;;) {
    const auto* quote = static_cast<const char*>(std::memchr(buffer_.data() + from, '"', filled_ - from));
    if (quote == nullptr || (quote + 1 == buffer_.data() + filled_ && !at_end_)) {
      if (quote == nullptr && at_end_)
        return wrong("csv.open_quote", "opens a quote that is never closed", "Close it, or double it inside quotes.");
      return Step::more;
    }
    const auto end = static_cast<std::size_t>(quote - buffer_.data());
    if (end + 1 < filled_ && buffer_[end + 1] == '"') {
      escaped = true;
      from = end + 2;
      continue;
    }
    cells.push_back({std::string_view(buffer_).substr(start, end - start), true});
    escaped_.push_back(escaped ? 1 : 0);
    at = end + 1;
    return Step::row;
  }
}

Result<CsvReader::Step> CsvReader::plain_cell(std::size_t& at, std::vector<Cell>& cells) {
  const std::size_t start = at;
  while (at < filled_) {
    const char c = buffer_[at];
    if (c == delimiter_ || c == '\n' || c == '\r') break;
    if (c == '"') {
      return wrong("csv.bad_quote", "has a quote inside a cell that does not begin with one",
                   "Put the whole cell in quotes and double those inside.");
    }
    ++at;
  }
  if (at == filled_ && !at_end_) return Step::more;
  cells.push_back({std::string_view(buffer_).substr(start, at - start), false});
  escaped_.push_back(0);
  return Step::row;
}

// Passes the delimiter or line end behind a cell; returns false when more bytes are needed to tell.
Result<bool> CsvReader::end_of_cell(std::size_t& at, bool& row_ended) {
  row_ended = true;
  if (at == filled_) return at_end_;
  const char c = buffer_[at];
  if (c == delimiter_) {
    row_ended = false;
    ++at;
    return true;
  }
  if (c == '\n') {
    ++at;
    return true;
  }
  if (c != '\r')
    return wrong("csv.bad_quote", "has text between a closing quote and the next delimiter",
                 "Double the quotes that belong to the cell.");
  if (at + 1 == filled_) {
    if (!at_end_) return false;
  } else if (buffer_[at + 1] != '\n') {
    return wrong("csv.bad_line_end", "has a carriage return without a newline",
                 "End lines in LF or CRLF, or put the cell in quotes.");
  } else {
    ++at;
  }
  ++at;
  return true;
}

Result<void> CsvReader::check_row(std::size_t end) {
  const std::string_view row = std::string_view(buffer_).substr(begin_, end - begin_);
  if (row.find('\0') != std::string_view::npos)
    return wrong("csv.binary", "has a NUL byte: this is no text", "Give CSV in UTF-8.");
  if (first_bad_utf8(row) != std::string_view::npos)
    return wrong("csv.not_utf8", "is not UTF-8",
                 "Save the file as UTF-8; a Chinese one may be sent with encoding=gb18030.");
  return {};
}

void CsvReader::unescape(std::vector<Cell>& cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (escaped_[i] == 0) continue;
    char* const start = buffer_.data() + (cells[i].text.data() - buffer_.data());
    char* out = start;
    const std::size_t size = cells[i].text.size();
    for (std::size_t j = 0; j < size; ++j) {
      *out++ = start[j];
      if (start[j] == '"') ++j;  // its twin
    }
    cells[i].text = std::string_view(start, static_cast<std::size_t>(out - start));
  }
}

}  // namespace tidemill::tables
