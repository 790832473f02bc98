// Cuts CSV into rows and cells. Private to this room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "storage/tables/csv.h"

namespace tidemill::tables {

struct Cell {
  std::string_view text;  // without quotes, doubled quotes made single
  bool quoted = false;
};

// Reads one file from start to end. Not thread-safe.
class CsvReader {
 public:
  // Opens the file and reads its header.
  [[nodiscard]] static Result<CsvReader> open(const std::filesystem::path& file, const CsvOptions& options);

  [[nodiscard]] const std::vector<std::string>& header() const { return header_; }

  // Reads the next row; returns false at the end. `cells` has as many as the header; its views end with the next call.
  [[nodiscard]] Result<bool> next(std::vector<Cell>& cells);

  [[nodiscard]] std::uint64_t row() const { return row_; }    // of the last row read: 1, 2 …
  [[nodiscard]] std::uint64_t line() const { return line_; }  // where it began: the header is line 1

 private:
  enum class Step { row, blank, more, end };

  CsvReader(std::filesystem::path file, FileDescriptor descriptor, const CsvOptions& options);
  [[nodiscard]] Result<void> read_header();
  [[nodiscard]] Result<void> check_start();
  [[nodiscard]] Result<void> refill();
  [[nodiscard]] Result<bool> record(std::vector<Cell>& cells);
  [[nodiscard]] Result<Step> split(std::vector<Cell>& cells);
  [[nodiscard]] Result<Step> quoted_cell(std::size_t& at, std::vector<Cell>& cells);
  [[nodiscard]] Result<Step> plain_cell(std::size_t& at, std::vector<Cell>& cells);
  [[nodiscard]] Result<bool> end_of_cell(std::size_t& at, bool& row_ended);
  [[nodiscard]] Result<void> check_row(std::size_t end);
  void unescape(std::vector<Cell>& cells);
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view reason, std::string_view what,
                                             std::string_view remedy) const;

  std::filesystem::path file_;
  CsvOptions options_;
  FileDescriptor descriptor_;
  std::string buffer_;
  std::size_t begin_ = 0;   // of the row being read
  std::size_t filled_ = 0;  // bytes of the buffer in use
  bool at_end_ = false;     // the file has no more
  char delimiter_ = ',';
  std::vector<std::string> header_;
  std::vector<char> escaped_;  // per cell: has doubled quotes
  std::uint64_t row_ = 0;
  std::uint64_t line_ = 0;
  std::uint64_t next_line_ = 1;
};

}  // namespace tidemill::tables
