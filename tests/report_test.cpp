// Reports of runs, through the program.
#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "data/image.h"
#include "model/program.h"
#include "tests/support/built.h"
#include "tests/support/html_page.h"
#include "tests/support/training.h"
#include "tools/report/html.h"
#include "tools/run/after_training.h"
#include "tools/run/base64.h"
#include "tools/run/evaluation.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace fs = std::filesystem;

namespace {

std::string page_of(const std::string& run) { return contents(run + "/report.html"); }

// Evaluates a run's best model with --report, and gives what is printed.
Json evaluated(const std::string& run, const std::string& data,
               const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"eval", run + "/best.safetensors", data, "--json", "--report"};
  words.insert(words.end(), more.begin(), more.end());
  const Ended e = fulmar_program(words);
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "report: " + run + "/report.html"));
  return Json::parse(e.out);
}

void train(const TrainingFiles& files, const std::vector<std::string>& more) {
  const Ended e = fulmar_program(files.arguments(more));
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "report: " + files.run + "/report.html"));
}

// Pictures in a page, decoded.
std::vector<data::Image> pictures_in(const std::string& page) {
  std::vector<data::Image> pictures;
  const std::string before = "src=\"data:image/png;base64,";
  for (size_t at = page.find(before); at != std::string::npos; at = page.find(before, at + 1)) {
    const size_t start = at + before.size();
    const std::string png = tools::from_base64(page.substr(start, page.find('"', start) - start));
    pictures.push_back(data::decode_image(
        {reinterpret_cast<const uint8_t*>(png.data()), png.size()}, "picture in the page"));
  }
  return pictures;
}

}  // namespace

TEST_CASE("a report of two classes: its numbers are those of eval --json and of metrics.csv") {
  const TrainingFiles files;
  train(files, {"--epochs", "3", "--validation", "0.25"});
  check_page(files.run + "/report.html");
  const Json before = numbers_in(page_of(files.run));
  REQUIRE(before["evaluations"].size() == 1);
  const Json validation = before["evaluations"][0];
  CHECK(validation["samples"] == 6);
  // The best model's own metrics, which training kept.
  const int64_t best = before["best"]["epoch"];
  const auto at = static_cast<size_t>(best - 1);
  for (const auto& pair :
       std::vector<std::pair<std::string, std::string>>{{"val_accuracy", "accuracy"},
                                                        {"val_f1", "f1"},
                                                        {"val_roc_auc", "roc_auc"},
                                                        {"val_pr_auc", "pr_auc"},
                                                        {"val_macro_f1", "macro_f1"},
                                                        {"threshold", "threshold"}}) {
    const std::string &name = pair.first, &key = pair.second;
    CAPTURE(name);
    CHECK(validation[key] == column(files.run, name).at(at));
    CHECK(before["best"][name] == validation[key]);
  }
  CHECK(validation["loss"].get<double>() ==
        doctest::Approx(column(files.run, "val_loss").at(at)).epsilon(1e-6));

  const Json printed = evaluated(files.run, files.data);
  const Ended plain =
      fulmar_program({"eval", files.run + "/best.safetensors", files.data, "--json"});
  CHECK(Json::parse(plain.out) == printed);
  check_page(files.run + "/report.html");
  const Json numbers = numbers_in(page_of(files.run));
  REQUIRE(numbers["evaluations"].size() == 2);
  CHECK(numbers["evaluations"][0] == printed);
  CHECK(numbers["evaluations"][1] == validation);

  // What is to be read is of those numbers too.
  const std::string page = page_of(files.run);
  for (const char* key : {"accuracy", "f1", "roc_auc", "pr_auc", "ece", "brier"}) {
    CAPTURE(key);
    const std::string digits = std::to_string(printed[key].get<double>()).substr(0, 5);
    CHECK(has(page, ">" + digits));
  }
  const Json& confusion = printed["confusion"];
  CHECK(count_of(page, "Missed</span> <strong>" + confusion[1][0].dump() + "<") == 1);
  CHECK(count_of(page, "False alarms</span> <strong>" + confusion[0][1].dump() + "<") == 1);
  const int64_t wrong = confusion[1][0].get<int64_t>() + confusion[0][1].get<int64_t>();
  CHECK(wrong > 0);

  // Another threshold replaces the evaluation, and moves the ring.
  const Json other = evaluated(files.run, files.data, {"--threshold", "0.75"});
  CHECK(numbers_in(page_of(files.run))["evaluations"].size() == 2);
  CHECK(numbers_in(page_of(files.run))["evaluations"][0] == other);
  CHECK(has(page_of(files.run), ">threshold 0.7500<"));
}

TEST_CASE("fulmar report makes the same page from the run's files") {
  const TrainingFiles files;
  train(files, {"--epochs", "2", "--validation", "0.25"});
  const Json printed = evaluated(files.run, files.data);
  const std::string page = page_of(files.run);
  fs::remove(files.run + "/report.html");
  fs::rename(files.data, files.folder.path("elsewhere"));  // the pictures are in the run's files
  const Ended e = fulmar_program({"report", files.run});
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(e.out == files.run + "/report.html\n");
  CHECK(page_of(files.run) == page);
  const Ended json = fulmar_program({"report", files.run + "/", "--json"});
  CHECK(Json::parse(json.out)["evaluations"][0] == printed);

  // Another best model: the numbers are no longer its own.
  CHECK_FALSE(has(page, "has changed since"));
  save_model(files.run + "/best.safetensors", {"neg", "pos"});
  CHECK(fulmar_program({"report", files.run}).code == 0);
  CHECK(count_of(page_of(files.run), "has changed since") == 2);
}

TEST_CASE(
    "the worst mistakes are shown, those with the least probability of their own class first") {
  const TrainingFiles files({"neg", "pos"}, 30, 40);
  train(files, {"--epochs", "1"});
  // All but the surest are called neg.
  const Json numbers = evaluated(files.run, files.data, {"--threshold", "1"});
  CHECK(numbers["confusion"][1][0] == 30);
  const std::string page = page_of(files.run);
  CHECK(has(page, "Missed pos: 30, the worst 6<"));
  CHECK(has(page, "False alarms, called pos: 0<"));
  // Each with what speaks for the class that it was called.
  const std::vector<data::Image> all = pictures_in(page);
  REQUIRE(all.size() == 12);
  CHECK(count_of(page, "class=\"heat\"") == 6);
  std::vector<data::Image> pictures;
  for (size_t i = 0; i < all.size(); i++) {
    CHECK(all[i].height == 40);
    CHECK(all[i].bands == 3);
    if (i % 2 == 0) pictures.push_back(all[i]);
  }
  // 16 of 40 pixels are what the network sees.
  CHECK(count_of(page, "left:30.00%;top:30.00%;width:40.00%;height:40.00%") == 6);
  std::vector<double> own;
  for (const std::string& p : all_matches(page, "<strong>pos</strong> ([0-9.]+)\\s*<br>called"))
    own.push_back(std::stod(p));
  REQUIRE(own.size() == 6);
  CHECK(std::is_sorted(own.begin(), own.end()));
  // Each is the file that it says.
  const std::vector<std::string> names = all_matches(page, "alt=\"([^\"]*): is pos, called neg\"");
  REQUIRE(names.size() == 6);
  for (size_t i = 0; i < names.size(); i++)
    CHECK(data::read_image(files.data + "/" + names[i]).data == pictures[i].data);
}

TEST_CASE("ten classes with hard names") {
  std::vector<std::string> classes{"<b>&\"'", "Eis & Schnee", "\xC3\xA6\xE6\xB5\xB7"};
  for (char name = 'a'; name <= 'g'; name++) classes.emplace_back(1, name);
  const TrainingFiles files(classes, 6);
  fs::rename(files.data + "/a/100.bmp", files.data + "/a/<i>&\"'.bmp");
  fs::rename(files.data + "/a/101.bmp", files.data + "/a/\xE6.bmp");  // not UTF-8
  train(files, {"--epochs", "2", "--validation", "0.34", "--sampling", "epoch"});
  const Json printed = evaluated(files.run, files.data);
  check_page(files.run + "/report.html");
  const std::string page = page_of(files.run);
  CHECK(numbers_in(page)["evaluations"][0] == printed);
  CHECK(printed["classes"].size() == 10);
  CHECK(printed["threshold"].is_null());
  CHECK(has(page, "&lt;b&gt;&amp;&quot;&#39;"));
  CHECK_FALSE(has(page, "<b>"));
  CHECK_FALSE(has(page, "<i>"));
  CHECK(has(page, "Eis &amp; Schnee"));
  CHECK(has(page, "\xC3\xA6\xE6\xB5\xB7"));
  CHECK(count_of(page, "class=\"confusion many\"") == 2);
  CHECK(count_of(page, "<th scope=\"row\">Eis &amp; Schnee</th>") == 5);  // also of the data
  const int64_t right = [&] {
    int64_t sum = 0;
    for (size_t k = 0; k < 10; k++) sum += printed["confusion"][k][k].get<int64_t>();
    return sum;
  }();
  CHECK(has(page, "Wrong</span> <strong>" + std::to_string(60 - right) + "<"));
}

TEST_CASE("a run of one epoch without validation: what there is, and how to get the rest") {
  const TrainingFiles files;
  train(files, {"--epochs", "1"});
  check_page(files.run + "/report.html");
  const std::string page = page_of(files.run);
  CHECK(numbers_in(page)["evaluations"].empty());
  CHECK(numbers_in(page)["best"]["loss"] == column(files.run, "loss").at(0));
  CHECK(has(page, "No evaluation yet"));
  CHECK(has(page, "No pictures were held out (--validation)"));
  CHECK_FALSE(has(page, "<path"));
  CHECK(count_of(page, "<circle") == count_of(page, "<svg "));  // a point in each plot
  CHECK_FALSE(fs::exists(files.run + "/evaluation-validation.json"));
}

TEST_CASE("the report tells of the data, the machine, the settings and every command") {
  const TrainingFiles files({"neg", "pos"}, 20, 64);
  fs::copy_file(files.data + "/neg/100.bmp", files.data + "/pos/copy of 100.bmp");
  write_file(files.data + "/neg/notes.txt", "not a picture");
  const std::vector<std::string> words{
      "train",    files.data, "--out",   files.run, "--crop",       "64",  "--widths", "8,16",
      "--epochs", "2",        "--batch", "2",       "--validation", "0.2", "--seed",   "41"};
  HowToRun how;
  how.interrupt_at = "takes about";
  const Ended stopped = fulmar_program(words, how);
  CHECK(stopped.code == 130);
  check_page(files.run + "/report.html");
  CHECK(has(page_of(files.run), "; interrupted."));
  CHECK(has(page_of(files.run), "No epoch has ended yet"));
  CHECK(fulmar_program({"train", "--out", files.run, "--resume"}).code == 0);
  check_page(files.run + "/report.html");
  const std::string page = page_of(files.run);
  std::string line = built::program;
  for (const std::string& word : words) line += " " + word;
  CHECK(has(page, "<code>" + tools::escaped(line) + "</code>"));
  CHECK(has(page, "<code>" + built::program + " train --out " + files.run + " --resume</code>"));
  for (const char* part :
       {"Processor</th><td>", "Instruction set</th><td>AVX", "Memory</th><td>", "Seed</th><td>41<",
        "<td class=\"text\">8, 16", "Equal pictures with two labels", "copy of 100.bmp",
        "Files left out", "notes.txt", "64 × 64</th><td>3</td><td class=\"text\">u8</td><td>41<",
        "Time taken</th><td>0:0"})
    CHECK_MESSAGE(has(page, part), std::string(part));
  const Json record = json_in(files.run + "/run.json");
  CHECK(record["sessions"][0]["ended"] == "interrupted");
  CHECK(record["sessions"][1]["ended"] == "finished");
  CHECK(record["data"]["check"]["parts"].size() == 2);
  const Json& parts = record["data"]["check"]["parts"];
  CHECK(parts[0]["classes"]["pos"]["pictures"].get<int>() +
            parts[1]["classes"]["pos"]["pictures"].get<int>() ==
        21);
}

TEST_CASE("a report that can't be made: exit 3, and the training is whole") {
  const TrainingFiles files;
  fs::create_directories(files.run + "/report.html/in the way");
  const Ended e = fulmar_program(files.arguments({"--epochs", "1", "--validation", "0.25"}));
  CHECK(e.code == 3);
  CHECK(e.out == files.run + "/best.safetensors\n");
  CAPTURE(e.err);
  CHECK(has(e.err, files.run + "/report.html"));
  CHECK(has(e.err, "the training is done and its model whole"));
  CHECK(has(e.err, "--resume' goes on with it"));
  CHECK(column(files.run, "epoch").size() == 1);
  CHECK(fulmar_program({"eval", files.run + "/best.safetensors", files.data}).code == 0);
  CHECK(fulmar_program({"eval", files.run + "/best.safetensors", files.data, "--report"}).code ==
        3);
  fs::remove_all(files.run + "/report.html");
  const Ended again = fulmar_program({"train", "--out", files.run, "--resume", "--json"});
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK(Json::parse(again.out)["report"] == files.run + "/report.html");
  check_page(files.run + "/report.html");
}

TEST_CASE("a failure of any kind costs the report alone: the next seed trains, exit codes stay") {
  using tools::failure_of;
  CHECK_FALSE(failure_of([] {}));
  CHECK(failure_of([] { device_error("gone"); })->kind() == ErrorKind::device);
  CHECK(failure_of([] { throw std::bad_alloc(); })->kind() == ErrorKind::device);
  const auto failure = failure_of([] { throw fs::filesystem_error("stat", std::error_code()); });
  CHECK(failure->kind() == ErrorKind::file);
  CHECK(has(failure->what(), "stat"));

  // A name that no file can have: the system says so with an error of its own.
  tools::Evaluation odd;
  odd.model = std::string(300, 'm');
  odd.classes = {"neg", "pos"};
  odd.positive_class = 1;
  odd.files = {"a"};
  odd.predictions = model::Predictions(2);
  odd.predictions.add(0, std::vector<float>{0.5f, 0.5f}, 1);
  const TrainingFiles files({"neg", "pos"}, 20, 64);
  const auto put = [&](const std::string& run) {
    fs::create_directories(run);
    write_file(run + "/evaluation-odd.json", tools::evaluation_text(odd));
  };
  const std::string seeds = files.run + "/seed-";
  put(seeds + "0");
  put(seeds + "1");
  const Ended two = fulmar_program(files.arguments({"--epochs", "1", "--seeds", "2"}));
  CAPTURE(two.err);
  CHECK(two.code == 3);
  CHECK(two.out.rfind(seeds + "0/best.safetensors\n" + seeds + "1/best.safetensors\n", 0) == 0);
  CHECK(count_of(two.err, "File name too long") == 2);
  CHECK(count_of(two.err, "the training is done and its model whole") == 2);

  const std::string run = files.folder.path("stopped");
  put(run);
  HowToRun how;
  how.interrupt_at = "takes about";
  const Ended stopped = fulmar_program({"train", files.data, "--out", run, "--crop", "64",
                                        "--widths", "8,16", "--epochs", "2", "--batch", "2"},
                                       how);
  CAPTURE(stopped.err);
  CHECK(stopped.code == 130);
  CHECK(has(stopped.err, "no report of this run: "));
  CHECK(has(stopped.err, "interrupted"));
}

TEST_CASE("--report-file writes a page of one evaluation, for any model") {
  const TrainingFiles files;
  const std::string model = files.folder.path("m.safetensors"), page = files.folder.path("p.html");
  save_model(model, {"neg", "pos"});
  const Ended e = fulmar_program({"eval", model, files.data, "--json", "--report-file", page});
  CHECK_MESSAGE(e.code == 0, e.err);
  check_page(page);
  const Json numbers = numbers_in(contents(page));
  CHECK(numbers["evaluations"] == Json::array({Json::parse(e.out)}));
  CHECK(numbers["best"].is_null());
  CHECK_FALSE(has(contents(page), "id=\"training\""));

  const Ended outside = fulmar_program({"eval", model, files.data, "--report"});
  CHECK(outside.code == 2);
  CHECK(has(outside.err, "--report-file"));
  const Ended nowhere =
      fulmar_program({"eval", model, files.data, "--report-file", files.folder.path("no/p.html")});
  CHECK(nowhere.code == 3);
  CHECK(nowhere.out.empty());  // told before the pictures are read
}

TEST_CASE("files of a run that can't be used are named: exit 3") {
  const TrainingFiles files;
  train(files, {"--epochs", "1", "--validation", "0.25"});
  const std::string evaluation = files.run + "/evaluation-validation.json";
  const auto refused = [&](const std::string& name, const std::string& part) {
    const std::string page = page_of(files.run);
    const Ended e = fulmar_program({"report", files.run});
    CAPTURE(e.err);
    CHECK(e.code == 3);
    CHECK(has(e.err, name));
    CHECK(has(e.err, part));
    CHECK(page_of(files.run) == page);
  };
  const auto with = [&](const std::string& path, const std::string& from, const std::string& to,
                        const std::string& part) {
    const std::string whole = contents(path);
    std::string text = whole;
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    write_file(path, text);
    refused(path, part);
    write_file(path, whole);
  };
  with(evaluation, "\"format\": 1", "\"format\": 2", "of format 2");
  with(evaluation, "\"label\":0", "\"label\":2", "don't fit");
  with(evaluation, "\"label\":0", "\"label\":\"x\"", "not an evaluation");
  with(evaluation, "\"probabilities\":[", "\"probabilities\":[0.5,", "don't fit");
  with(evaluation, "\"positive_class\": 1", "\"positive_class\": 2", "positive class");
  with(evaluation, "\"samples\"", "\"sample\"", "not an evaluation");
  with(files.run + "/run.json", "\"sessions\"", "\"session\"", "not a run's record");
  with(files.run + "/run.json", "\"parts\"", "\"part\"", "not a record");
  with(files.run + "/run.json", "\"processor\"", "\"process\"", "not a record");
  with(files.run + "/config.json", "{", "[", "no JSON object");
  const std::string best = files.run + "/best.safetensors";
  Context context;
  const Checkpoint written = Checkpoint::read(best);
  Model model = model::load_model(written, context.device("reference"));
  ModelInfo info = written.info();
  info.summary = R"({"epoch": "first"})";
  save_checkpoint(best, info, model);
  refused(best, "\"first\", not a whole number");
  fs::remove(files.run + "/config.json");
  refused(files.run, "no run folder");
  CHECK(fulmar_program({"report", files.folder.path("absent")}).code == 3);
}
