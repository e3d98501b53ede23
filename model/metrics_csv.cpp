#include "model/metrics_csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

constexpr uint64_t max_file_bytes = uint64_t{1} << 30;

// Takes the first line off `text`, without its end; false where it has none.
bool take_line(std::string_view& text, std::string_view& line) {
  const size_t end = text.find('\n');
  if (end == text.npos) return false;
  line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return true;
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == line.npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

// The next row; false where the next line is incomplete or not `columns` numbers.
bool take_row(std::string_view& text, size_t columns, std::vector<double>& row) {
  std::string_view line;
  if (!take_line(text, line)) return false;
  const std::vector<std::string_view> fields = fields_of(line);
  row.clear();
  for (const std::string_view field : fields) {
    double value = 0;
    const char* end = field.data() + field.size();
    const auto [stopped, failed] = std::from_chars(field.data(), end, value);
    if (failed != std::errc{} || stopped != end) return false;
    row.push_back(value);
  }
  return row.size() == columns;
}

std::string joined(const std::vector<std::string>& columns) {
  std::string line;
  for (const std::string& column : columns) line += (line.empty() ? "" : ",") + column;
  return line;
}

}  // namespace

MetricsCsv::MetricsCsv(const std::string& path, const std::vector<std::string>& columns,
                       int64_t keep_through)
    : file_(path), columns_(columns.size()) {
  const auto found = std::find(columns.begin(), columns.end(), "step");
  if (found == columns.end()) usage_error("the columns of '" + path + "' need one named step");
  const size_t step = static_cast<size_t>(found - columns.begin());
  const std::string header = joined(columns);

  const std::string contents = read_file(path, max_file_bytes);
  std::string_view rest = contents, line;
  const bool begun = take_line(rest, line);
  if (!begun && contents.size() <= header.size() &&
      header.compare(0, contents.size(), contents) == 0) {
    file_.truncate(0);
    file_.append(header + "\n");
    return;
  }
  if (!begun || line != header)
    file_error("cannot continue '" + path + "': its columns are not those of this run (" + header +
               "): move it away or write to another folder");
  uint64_t kept = contents.size() - rest.size();
  std::vector<double> row;
  while (take_row(rest, columns_, row) && row[step] <= static_cast<double>(keep_through))
    kept = contents.size() - rest.size();
  file_.truncate(kept);
}

void MetricsCsv::append(std::span<const double> row) {
  if (row.size() != columns_)
    usage_error("a row of " + std::to_string(row.size()) + " numbers for " +
                std::to_string(columns_) + " columns");
  std::string line;
  for (const double value : row) {
    char digits[32];
    // Shortest digits that give the same bits again; the sign of a NaN says nothing.
    const char* end =
        std::to_chars(digits, digits + sizeof digits, std::isnan(value) ? NAN : value).ptr;
    if (!line.empty()) line += ',';
    line.append(digits, static_cast<size_t>(end - digits));
  }
  file_.append(line + '\n');
}

MetricsTable read_metrics_csv(const std::string& path) {
  const std::string contents = read_file(path, max_file_bytes);
  std::string_view rest = contents, line;
  if (!take_line(rest, line))
    file_error("cannot read '" + path + "': it has no header line (is it a run's metrics.csv?)");
  MetricsTable table;
  for (const std::string_view field : fields_of(line)) table.columns.emplace_back(field);
  for (std::vector<double> row; take_row(rest, table.columns.size(), row);)
    table.rows.push_back(row);
  return table;
}

}  // namespace fulmar::model
