// Pages of what trainings rarely give: numbers that are none, nothing to show, everything right.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/support/html_page.h"
#include "tools/report/report.h"
#include "tools/run/training_words.h"

using namespace fulmar;
using namespace fulmar::test;
using namespace fulmar::tools;
using Json = fulmar::tools::Json;

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

Evaluation evaluation_of(const std::vector<std::pair<int64_t, std::vector<float>>>& samples,
                         std::vector<std::string> classes) {
  Evaluation e;
  e.folder = "scenes/test";
  e.model = "run/best.safetensors";
  e.predictions = model::Predictions(static_cast<int64_t>(classes.size()));
  e.positive_class = classes.size() == 2 ? 1 : -1;
  e.classes = std::move(classes);
  for (const auto& [label, probabilities] : samples) {
    e.files.push_back("file " + std::to_string(e.files.size()));
    e.predictions.add(label, probabilities, 0.1 + 1e-9 * static_cast<double>(e.files.size()));
  }
  return e;
}

// A page of this evaluation, checked.
std::string page_of(const Evaluation& e) {
  const TempFolder folder;
  Report report;
  report.name = "a run";
  report.evaluations.push_back({e, false});
  std::string page = report_html(report);
  write_file(folder.path("page.html"), page);
  check_page(folder.path("page.html"));
  CHECK(numbers_in(page)["evaluations"][0] == numbers_json(e));
  return page;
}

}  // namespace

TEST_CASE("metrics that are NaN are dashes and gaps") {
  const TempFolder folder;
  Report report;
  report.name = "odd";
  report.training = Report::Training();
  report.training->config = {{"seed", 1}};
  report.training->best_epoch = 2;
  report.training->metrics.columns = {"epoch",   "step",     "learning_rate", "loss",
                                      "roc_auc", "val_loss", "val_roc_auc",   "seconds"};
  report.training->metrics.rows = {{1, 10, 1e-3, 2, none, none, none, 1},
                                   {2, 20, 1e-3, 1, none, 0.5, none, 1},
                                   {3, 30, 0, INFINITY, none, 0.6, none, 1}};
  const std::string page = report_html(report), path = folder.path("page.html");
  write_file(path, page);
  check_page(path);
  CHECK(has(page, "<td>–</td>"));
  CHECK(numbers_in(page)["best"]["roc_auc"].is_null());
  CHECK(numbers_in(page)["best"]["val_loss"] == 0.5);
  CHECK(has(page, "Time taken</th><td>0:03 for 3 epochs"));
  report.training->metrics.rows.clear();
  report.training->best_epoch = 0;
  CHECK(numbers_in(report_html(report))["best"].is_null());
}

TEST_CASE("a page begins with what must be known of a training before it is trusted") {
  Report report;
  report.name = "odd";
  report.training = Report::Training();
  report.training->config = {{"seed", 1}};
  report.training->best_epoch = 1;
  report.training->metrics.columns = {"epoch", "accuracy", "val_roc_auc"};
  report.training->metrics.rows = std::vector<std::vector<double>>(6, {1, 0.97, 0.52});
  Evaluation e = evaluation_of({{0, {0.5078f, 0.4922f}}, {1, {0.5071f, 0.4929f}}}, {"no", "yes"});
  e.set = "validation";
  e.threshold = 0.4925;
  report.evaluations.push_back({e, false});
  const std::vector<std::string> words = training_words(report);
  REQUIRE(words.size() == 4);
  CHECK(has(words[0],
            "all 2 validation pictures nearly the same probability of 'yes', 0.4922 to "
            "0.4929"));
  CHECK(
      has(words[1], "threshold 0.4925 was chosen on 1 validation pictures of 'yes' and 1 others"));
  CHECK(has(words[1], "nearly equal"));
  CHECK(has(words[2], "97 % of the training pictures are right, and validation is at chance"));
  CHECK(has(words[3], "the first of 6"));
  const TempFolder folder;
  const std::string page = report_html(report);
  write_file(folder.path("page.html"), page);
  check_page(folder.path("page.html"));
  CHECK(has(page, "<p class=\"warning\">In the last epoch 97 %"));

  // What is as it should be is not told.
  Evaluation good;
  good.classes = {"no", "yes"};
  good.positive_class = 1;
  good.predictions = model::Predictions(2);
  for (int i = 0; i < 20; i++) {
    const float p = i % 2 ? 0.9f : 0.2f;
    good.predictions.add(i % 2, std::vector<float>{1 - p, p}, 0.1);
  }
  model::MetricsTable& metrics = report.training->metrics;
  for (auto& row : metrics.rows) row[2] = 0.95;
  CHECK(training_words(metrics, 2, &good).empty());
  CHECK(training_words(metrics, 2, nullptr).empty());
  CHECK(training_words({}, 0, nullptr).empty());
}

TEST_CASE("probabilities that are NaN, one class alone, and no pictures") {
  const float bad = std::nanf("");
  const std::string broken = page_of(
      evaluation_of({{0, {bad, bad}}, {1, {0.25f, 0.75f}}, {0, {0.5f, 0.5f}}}, {"no", "yes"}));
  CHECK(has(broken, "Undefined"));
  CHECK(has(page_of(evaluation_of({{0, {0.75f, 0.25f}}}, {"no", "yes"})), "Undefined here"));
  CHECK(has(page_of(evaluation_of({{1, {0.25f, 0.75f}}}, {"no", "yes"})), "Undefined here"));
  CHECK(has(page_of(evaluation_of({}, {"no", "yes"})), "Undefined"));
  CHECK(has(page_of(evaluation_of({}, {"a", "b", "c"})), "Undefined"));
  page_of(evaluation_of({{0, {0.5f, 0.25f, 0.25f}}, {0, {0.25f, 0.5f, 0.25f}}}, {"a", "b", "c"}));
}

TEST_CASE("everything right: no mistakes") {
  const Evaluation e = evaluation_of({{0, {1, 0}}, {1, {0, 1}}, {1, {0, 1}}}, {"no", "yes"});
  const std::string page = page_of(e);
  CHECK(has(page, "Missed yes: 0</h3><p>None.</p>"));
  CHECK(has(page, "area 1.0000"));
  CHECK_FALSE(has(page, "<img"));
}

TEST_CASE("the rings stand where the confusion matrix says") {
  // At 0.5: two of three found, one of two called wrongly.
  const Evaluation e = evaluation_of({{1, {0.1f, 0.9f}},
                                      {1, {0.4f, 0.6f}},
                                      {1, {0.7f, 0.3f}},
                                      {0, {0.2f, 0.8f}},
                                      {0, {0.9f, 0.1f}}},
                                     {"no", "yes"});
  const std::string page = page_of(e);
  CHECK(has(page, "false positive rate 0.5000, true positive rate 0.6667"));
  CHECK(has(page, "recall 0.6667, precision 0.6667"));
  // Ring and curve share their axes: the ring of the ROC lies midway along x.
  const std::vector<std::string> x = all_matches(page, "class=\"mark\" cx=\"([0-9.]*)\"");
  const std::vector<std::string> axis = all_matches(
      page, "<line class=\"axis\" (x1=\"[0-9.]*\" y1=\"262\" x2=\"[0-9.]*\" y2=\"262\")");
  REQUIRE(x.size() == 2);
  REQUIRE(axis.size() >= 1);
  const double left = std::stod(axis[0].substr(4)),
               right = std::stod(axis[0].substr(axis[0].find("x2=") + 4));
  CHECK(std::stod(x[0]) == doctest::Approx((left + right) / 2).epsilon(0.001));
}

TEST_CASE("data: scenes and missing pixels are told where there are any") {
  const auto part = [](const char* name, double missing) {
    return Json{{"folder", name},
                {"classes",
                 {{"no",
                   {{"pictures", 30},
                    {"black_fraction", 0.5},
                    {"missing_fraction", missing},
                    {"wholly_black", 2}}},
                  {"yes",
                   {{"pictures", 10},
                    {"black_fraction", 0.1},
                    {"missing_fraction", 0},
                    {"wholly_black", 0}}}}}};
  };
  Json check{{"parts", {part("training", 0.2), part("validation", 0)}}, {"sizes", Json::array()}};
  for (const char* list :
       {"two_labels", "in_both_parts", "scenes_in_both_parts", "repeated", "unreadable", "stray"})
    check[list] = Json::array();
  const std::string text =
      data_section({{"folder", "scenes"}, {"scenes", {{6, 10}, {30, 10}}}, {"check", check}});
  CHECK(has(text,
            "<th scope=\"col\">training</th><th scope=\"col\">scenes</th><th scope=\"col\">"
            "black pixels</th><th scope=\"col\">missing</th><th scope=\"col\">validation</th>"
            "<th scope=\"col\">black pixels</th></tr>"));
  CHECK(has(text,
            "<th scope=\"row\">all</th><td>40</td><td>16</td><td>40.0 %</td><td>15.0 %</td>"
            "<td>40</td><td>40.0 %</td></tr>"));
  CHECK(has(text, "2 of no in training"));
}

TEST_CASE("an evaluation's file gives the same numbers back") {
  const TempFolder folder;
  std::vector<std::pair<int64_t, std::vector<float>>> samples;
  uint32_t bits = 1;
  for (int64_t i = 0; i < 300; i++) {
    std::vector<float> p;
    for (int k = 0; k < 3; k++) {
      bits = bits * 1664525u + 1013904223u;
      p.push_back(static_cast<float>(bits >> 8) / static_cast<float>(1 << 24));
    }
    samples.emplace_back(i % 3, p);
  }
  samples.push_back({1, {std::nanf(""), 1e-42f, 1}});
  Evaluation e = evaluation_of(samples, {"a", "b\"<", "c"});
  e.files[3] = "not UTF-8: \xE6";
  e.mistakes.push_back({5, std::string("png\0bytes", 9), 4, 3, 0.1, 0.2, 0.3, 0.4, "cam"});
  const std::string path = folder.path("evaluation.json");
  write_file(path, evaluation_text(e));
  const Evaluation back = read_evaluation(path);
  CHECK(back.classes == e.classes);
  CHECK(back.files[3] == "not UTF-8: \xEF\xBF\xBD");
  CHECK(back.predictions.labels == e.predictions.labels);
  REQUIRE(back.predictions.probabilities.size() == e.predictions.probabilities.size());
  for (size_t i = 0; i < e.predictions.probabilities.size(); i++) {
    const float a = e.predictions.probabilities[i], b = back.predictions.probabilities[i];
    CHECK((a == b || (std::isnan(a) && std::isnan(b))));
  }
  CHECK(numbers_json(back) == numbers_json(e));
  REQUIRE(back.mistakes.size() == 1);
  CHECK(back.mistakes[0].png == e.mistakes[0].png);
  CHECK(back.mistakes[0].side_y == 0.4);
  CHECK(back.mistakes[0].cam_png == "cam");
}
