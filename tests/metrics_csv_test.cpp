#include "model/metrics_csv.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/error.h"
#include "tests/support/temp_folder.h"

namespace {

using fulmar::Error;
using fulmar::ErrorKind;
using fulmar::model::MetricsCsv;
using fulmar::model::MetricsTable;
using fulmar::model::read_metrics_csv;
using fulmar::test::TempFolder;

constexpr int64_t all = INT64_MAX;
const std::vector<std::string> columns{"epoch", "step", "loss"};

std::string text_of(const std::string& path) { return fulmar::read_file(path, 1 << 20); }

void add_rows(MetricsCsv& csv, int first, int last) {
  for (int epoch = first; epoch <= last; epoch++)
    csv.append(std::vector<double>{double(epoch), epoch * 10.0, 1.0 / epoch});
}

}  // namespace

TEST_CASE("numbers are written as short as gives the same bits, and read back") {
  TempFolder folder;
  const std::string path = folder.path("metrics.csv");
  {
    MetricsCsv csv(path, columns, all);
    csv.append(std::vector<double>{1, 10, 0.1});
    csv.append(std::vector<double>{2, 20, -NAN});
    csv.append(std::vector<double>{3, 1e15, 1.0 / 3});
    csv.sync();
  }
  CHECK(text_of(path) == "epoch,step,loss\n1,10,0.1\n2,20,nan\n3,1e+15,0.3333333333333333\n");
  const MetricsTable table = read_metrics_csv(path);
  CHECK(table.columns == columns);
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0] == std::vector<double>{1, 10, 0.1});
  CHECK(std::isnan(table.rows[1][2]));
  CHECK(table.rows[2] == std::vector<double>{3, 1e15, 1.0 / 3});
}

TEST_CASE("a table cut back to a step and continued equals one that was never interrupted") {
  TempFolder folder;
  const std::string path = folder.path("metrics.csv");
  {
    MetricsCsv csv(path, columns, all);
    add_rows(csv, 1, 6);
  }
  const std::string whole = text_of(path);
  for (const int64_t step : {0, 9, 10, 35, 60, 1000}) {
    CAPTURE(step);
    MetricsCsv csv(path, columns, step);
    add_rows(csv, static_cast<int>(std::min<int64_t>(step / 10, 6)) + 1, 6);
    CHECK(text_of(path) == whole);
  }
}

TEST_CASE("whatever a killed program leaves of its last line is cut away") {
  TempFolder folder;
  const std::string path = folder.path("metrics.csv");
  {
    MetricsCsv csv(path, columns, all);
    add_rows(csv, 1, 3);
  }
  const std::string whole = text_of(path);
  const size_t third = whole.find("3,30");
  for (size_t length = 0; length < whole.size(); length++) {
    CAPTURE(length);
    fulmar::write_file(path, whole.substr(0, length));
    if (length >= third) CHECK(read_metrics_csv(path).rows.size() == 2);
    MetricsCsv csv(path, columns, all);
    add_rows(csv, length >= third ? 3 : length >= whole.find("2,20") ? 2 : 1, 3);
    CHECK(text_of(path) == whole);
  }
  for (const std::string rest : {"4,40\n", "4,40,x\n", "4,40,1,1\n", "\n", "4,,1\n"}) {
    fulmar::write_file(path, whole + rest + "5,50,1\n");
    { MetricsCsv(path, columns, all); }
    CHECK(text_of(path) == whole);
  }
}

TEST_CASE("a file with other columns, or of another kind, is not overwritten") {
  TempFolder folder;
  const std::string path = folder.path("metrics.csv");
  for (const std::string text : {"epoch,step\n1,10\n", "notes", "epoch,step,losses"}) {
    fulmar::write_file(path, text);
    try {
      MetricsCsv csv(path, columns, all);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::file);
      CHECK(std::string(error.what()).find(path) != std::string::npos);
    }
    CHECK(text_of(path) == text);
  }
  fulmar::write_file(path, "no end of line");
  CHECK_THROWS_AS(read_metrics_csv(path), Error);
}

TEST_CASE("wrong use is refused") {
  TempFolder folder;
  CHECK_THROWS_AS(MetricsCsv(folder.path("a"), {"epoch", "loss"}, all), Error);
  MetricsCsv csv(folder.path("b"), columns, all);
  CHECK_THROWS_AS(csv.append(std::vector<double>{1, 2}), Error);
  CHECK(text_of(folder.path("b")) == "epoch,step,loss\n");
}
