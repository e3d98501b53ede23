// Options of `fulmar train`, its configuration, and going on with runs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/version.h"
#include "tests/support/training.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

// Trains and gives the configuration that the run holds.
Json config_of(const std::vector<std::string>& more) {
  const TrainingFiles files;
  std::vector<std::string> arguments{"train", files.data, "--out", files.run,  "--crop",
                                     "16",    "--widths", "4",     "--epochs", "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Ended e = fulmar_program(arguments);
  CHECK_MESSAGE(e.code == 0, e.err);
  return json_in(files.run + "/config.json");
}

size_t lowest(const std::vector<double>& values) {
  return static_cast<size_t>(std::min_element(values.begin(), values.end()) - values.begin());
}

// What --json prints, but for the time it took.
std::vector<Json> lines_of(const std::string& out) {
  std::vector<Json> lines;
  std::istringstream stream(out);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(Json::parse(line));
    if (lines.back().contains("best")) lines.back()["best"].erase("seconds");
  }
  return lines;
}

}  // namespace

TEST_CASE("config.json tells everything as it was decided, and goes anywhere") {
  const TrainingFiles files;
  HowToRun how;
  how.folder = files.folder.path();
  const std::vector<std::string> options{
      "--crop", "16",         "--widths",  "4,8",      "--epochs", "2",      "--batch",
      "8",      "--schedule", "one-cycle", "--rotate", "0.25",     "--seed", "3"};
  std::vector<std::string> arguments{"train", "data", "--out", "run"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const Ended e = fulmar_program(arguments, how);
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(e.out == "run/best.safetensors\n");
  const Json config = json_in(files.run + "/config.json");
  const std::string built = config.at("commit");
  CHECK(has(fulmar_program({"--version"}).out, "\ncommit " + built + "\n"));
  const Json expected{{"fulmar", version()},
                      {"commit", built},
                      {"device", "cpu"},
                      {"dataset", files.data},
                      {"size", "native"},
                      {"resize", "nearest"},
                      {"crop", 16},
                      {"channels", 3},
                      {"bands", nullptr},
                      {"range", nullptr},
                      {"band_mean", nullptr},
                      {"band_deviation", nullptr},
                      {"nodata", nullptr},
                      {"pad", false},
                      {"standardize", false},
                      {"scenes", "name"},
                      {"labels", nullptr},
                      {"pictures", nullptr},
                      {"classes", nullptr},
                      {"ignore", nullptr},
                      {"epoch_batches", nullptr},
                      {"labelled", 0.25},
                      {"loss", "cross-entropy"},
                      {"focal_gamma", 2},
                      {"tversky", nullptr},
                      {"units", nullptr},
                      {"class_weights", nullptr},
                      {"task_weights", nullptr},
                      {"positive", "pos"},
                      {"protocol", ""},
                      {"validation", 0.0},
                      {"validation_part", nullptr},
                      {"test", 0.0},
                      {"split_seed", 0},
                      {"sampling", "balanced"},
                      {"augment", "published"},
                      {"translate", 0.1},
                      {"rotate", 0.25},
                      {"zoom", 0.15},
                      {"gain", 0.0},
                      {"speckle", 0.0},
                      {"flip", "hv"},
                      {"cutmix", 0.0},
                      {"init", nullptr},
                      {"init_crc32c", nullptr},
                      {"network", "polar-low"},
                      {"widths", Json{4, 8}},
                      {"encoder", "resnet18"},
                      {"stages", 4},
                      {"output_stride", 16},
                      {"rates", Json{12, 24, 36}},
                      {"decoder_width", 256},
                      {"pool", 0},
                      {"shared_decoder", false},
                      {"dropout", 0.5},
                      {"zero_gamma", false},
                      {"epochs", 2},
                      {"batch", 8},
                      {"accumulate", 1},
                      {"learning_rate", 1e-3},
                      {"weight_decay", 1e-4},
                      {"optimizer", "adamw"},
                      {"adamw", "torch"},
                      {"momentum", nullptr},
                      {"schedule", "one-cycle"},
                      {"warmup", 0.3},
                      {"restart_epochs", nullptr},
                      {"restart_factor", nullptr},
                      {"plateau_patience", nullptr},
                      {"stop_patience", 0},
                      {"label_smoothing", 0.0},
                      {"bn_statistics", "estimated"},
                      {"precision", "fp32"},
                      {"fuse", "on"},
                      {"seed", 3}};
  CHECK(config == expected);

  // From another folder, with the same options given again.
  std::vector<std::string> again{"train", files.data, "--out", files.run, "--resume"};
  again.insert(again.end(), options.begin(), options.end());
  const Ended same = fulmar_program(again);
  CHECK_MESSAGE(same.code == 0, same.err);
  CHECK(fulmar_program({"train", "--out", files.run, "--resume"}).code == 0);
}

TEST_CASE("the protocol and the schedule fill in what is not given") {
  const Json paper = config_of({"--protocol", "paper"});
  CHECK(paper["adamw"] == "tfa");
  CHECK(paper["augment"] == "published");
  CHECK(paper["plateau_patience"] == 10);
  CHECK(paper["stop_patience"] == 20);
  CHECK(paper["warmup"].is_null());
  CHECK(paper["bn_statistics"] == "running");
  CHECK(config_of({"--protocol", "paper", "--bn-statistics", "estimated"})["bn_statistics"] ==
        "estimated");
  // Two steps an epoch: 200 and 400 of them, where nothing is given.
  const Json few_steps = config_of({});
  CHECK(few_steps["plateau_patience"] == 100);
  CHECK(few_steps["stop_patience"] == 200);
  const Json given = config_of({"--plateau-patience", "3", "--stop-patience", "6"});
  CHECK(given["plateau_patience"] == 3);
  CHECK(given["stop_patience"] == 6);
  CHECK(config_of({"--accumulate", "3"})["stop_patience"] == 400);
  const Json own = config_of({"--protocol", "paper", "--adamw", "keras", "--augment", "none"});
  CHECK(own["adamw"] == "keras");
  CHECK(own["augment"] == "none");
  CHECK(own["translate"] == 0.0);
  CHECK(own["flip"] == "none");
  CHECK(config_of({"--schedule", "cosine"})["stop_patience"] == 0);
  CHECK(config_of({"--schedule", "restarts"})["restart_epochs"] == 10);
  CHECK(config_of({"--schedule", "cosine", "--stop-patience", "7"})["stop_patience"] == 7);
}

TEST_CASE("options that don't go together: exit 2 and both names") {
  const TrainingFiles files;
  struct Row {
    std::vector<std::string> options;
    std::vector<std::string> parts;
  };
  const std::vector<Row> rows{
      {{"--warmup", "0.1"}, {"--warmup", "--schedule plateau"}},
      {{"--warmup", "0.1", "--schedule", "cosine"}, {"--warmup", "--schedule cosine"}},
      {{"--restart-epochs", "3"}, {"--restart-epochs", "--schedule restarts"}},
      {{"--plateau-patience", "3", "--schedule", "one-cycle"},
       {"--plateau-patience", "--schedule one-cycle"}},
      {{"--channels", "33"}, {"--channels", "33 is not between 1 and 32"}},
      {{"--positive", "cat"}, {"--positive cat", "neg and pos"}},
  };
  for (const Row& row : rows) {
    const Ended e = fulmar_program(files.arguments(row.options));
    CAPTURE(e.err);
    CHECK(e.code == 2);
    for (const std::string& part : row.parts) CHECK(has(e.err, part));
    CHECK_FALSE(std::filesystem::exists(files.run));
  }
  CHECK(has(fulmar_program({"train", "--help"}).out, "--max-pixels N"));
  CHECK(has(fulmar_program({"train", "--help"}).out, "500,000,000"));
}

TEST_CASE("the positive class is chosen, or told where its name doesn't tell") {
  const TrainingFiles files({"ape", "bee"}, 4);
  const Ended told = fulmar_program(files.arguments({"--epochs", "1"}));
  CHECK(told.code == 0);
  CHECK(has(told.err, "'bee'"));
  CHECK(has(told.err, "--positive"));
  std::filesystem::remove_all(files.run);
  const Ended chosen = fulmar_program(files.arguments({"--epochs", "1", "--positive", "ape"}));
  CHECK(chosen.code == 0);
  CHECK_FALSE(has(chosen.err, "--positive"));
  const Ended info = fulmar_program({"info", files.run + "/best.safetensors", "--json"});
  CHECK(Json::parse(info.out)["positive_class"] == "ape");
  const TrainingFiles three({"ape", "bee", "cat"}, 4);
  const Ended e = fulmar_program(three.arguments({"--epochs", "1", "--positive", "ape"}));
  CHECK(e.code == 2);
  CHECK(has(e.err, "--positive"));
}

TEST_CASE("train --json: a line for the run") {
  const TrainingFiles files;
  const Ended e =
      fulmar_program(files.arguments({"--epochs", "2", "--validation", "0.25", "--json"}));
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const Json json = Json::parse(e.out);
  CHECK(json["run"] == files.run);
  CHECK(std::filesystem::exists(json["model"].get<std::string>()));
  CHECK(json["epochs"] == 2);
  CHECK(json["stopped_early"] == false);
  const auto best = json["best_epoch"].get<size_t>();
  CHECK(json["best"]["val_loss"] == column(files.run, "val_loss").at(best - 1));
}

TEST_CASE("--protocol paper watches the training loss, else the validation loss is watched") {
  const TrainingFiles files;
  const std::vector<std::string> options{"--epochs", "8",      "--lr",       "0.02", "--validation",
                                         "0.25",     "--json", "--sampling", "epoch"};
  const auto best_of = [&](const std::vector<std::string>& more) {
    std::filesystem::remove_all(files.run);
    std::vector<std::string> all = options;
    all.insert(all.end(), more.begin(), more.end());
    const Ended e = fulmar_program(files.arguments(all));
    CHECK_MESSAGE(e.code == 0, e.err);
    return Json::parse(e.out)["best_epoch"].get<size_t>() - 1;
  };
  const size_t usual = best_of({});
  CHECK(usual == lowest(column(files.run, "val_loss")));
  CHECK(usual != lowest(column(files.run, "loss")));
  const size_t paper = best_of({"--protocol", "paper"});
  CHECK(paper == lowest(column(files.run, "loss")));
  CHECK(paper != lowest(column(files.run, "val_loss")));
}

TEST_CASE("--resume refuses other options, and a folder without a run stays as it was") {
  const TrainingFiles files;
  REQUIRE(fulmar_program(files.arguments({"--epochs", "1"})).code == 0);
  const auto refused = [&](const std::vector<std::string>& options, const std::string& message) {
    std::vector<std::string> arguments{"train", "--out", files.run, "--resume"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Ended e = fulmar_program(arguments);
    CAPTURE(e.err);
    CHECK(e.code == 2);
    CHECK(has(e.err, message));
  };
  refused({"--lr", "0.5"}, "--lr was 0.001 in the run to resume and is 0.5 here");
  refused({"--warmup", "0.5"}, "--warmup was null");
  refused({"--positive", "neg"}, "--positive was \"pos\"");
  refused({"--init", "other.safetensors"}, "--init was null");

  const std::string typo = files.folder.path("typo");
  const Ended e = fulmar_program({"train", "--out", typo, "--resume"});
  CHECK(e.code == 3);
  CHECK(has(e.err, typo + " holds no run to resume"));
  CHECK_FALSE(std::filesystem::exists(typo));
  const Ended again = fulmar_program(files.arguments());
  CHECK(again.code == 3);
  CHECK(has(again.err, "holds a run already"));
}

TEST_CASE("--init gives the first weights, also to a run that was killed before its first save") {
  const TrainingFiles files;
  const std::string model = files.folder.path("model.safetensors");
  const std::vector<std::string> options{"--epochs", "1", "--init", "model.safetensors"};
  HowToRun how;
  how.folder = files.folder.path();
  save_model(model, {"neg", "pos"});
  REQUIRE(fulmar_program(files.arguments({"--epochs", "1"})).code == 0);
  const std::string without = tensors_in(files.run + "/last.safetensors");
  std::filesystem::remove_all(files.run);
  const Ended e = fulmar_program(files.arguments(options), how);
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const std::string with = tensors_in(files.run + "/last.safetensors");
  CHECK(with != without);
  const Json config = json_in(files.run + "/config.json");
  CHECK(config["init"] == model);
  CHECK(config["init_crc32c"].get<std::string>().size() == 8);

  // What a kill before the first save leaves.
  const auto killed = [&] {
    for (const char* file : {"best.safetensors", "last.safetensors", "metrics.csv"})
      std::filesystem::remove(files.run + "/" + file);
  };
  killed();
  const Ended resumed = fulmar_program({"train", "--out", files.run, "--resume"});
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  CHECK(tensors_in(files.run + "/last.safetensors") == with);

  save_model(model, {"neg", "positive"});                                      // another file
  CHECK(fulmar_program({"train", "--out", files.run, "--resume"}).code == 0);  // needs it no more
  killed();
  const Ended other = fulmar_program({"train", "--out", files.run, "--resume"});
  CHECK(other.code == 3);
  CHECK(has(other.err, model + ": no longer the file that this run started from"));
}

TEST_CASE("--seeds trains one by one, tells mean and standard deviation, and resumes") {
  const TrainingFiles files;
  const Ended e = fulmar_program(
      files.arguments({"--epochs", "2", "--lr", "0.01", "--seeds", "3", "--seed", "7", "--json"}));
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const std::vector<Json> lines = lines_of(e.out);
  REQUIRE(lines.size() == 4);
  std::vector<double> losses;
  for (size_t i = 0; i < 3; i++) {
    CHECK(lines[i]["run"] == files.run + "/seed-" + std::to_string(7 + i));
    losses.push_back(lines[i]["best"]["loss"]);
  }
  const double mean = (losses[0] + losses[1] + losses[2]) / 3;
  double squares = 0;
  for (const double loss : losses) squares += (loss - mean) * (loss - mean);
  CHECK(squares > 0);
  CHECK(lines[3]["seeds"] == 3);
  CHECK(lines[3]["metrics"]["loss"]["mean"].get<double>() == doctest::Approx(mean));
  CHECK(lines[3]["metrics"]["loss"]["sd"].get<double>() == doctest::Approx(std::sqrt(squares / 2)));

  // The last two had not begun: they get the first one's configuration.
  const std::string eighth = files.run + "/seed-8", ninth = files.run + "/seed-9";
  const std::string before = tensors_in(ninth + "/last.safetensors");
  for (const std::vector<std::string>& options : {std::vector<std::string>{},
                                                  {"--seed", "7"},
                                                  {"--seed", "7", files.data, "--epochs", "2"}}) {
    std::filesystem::remove_all(eighth);
    std::filesystem::remove_all(ninth);
    std::vector<std::string> arguments{"train",   "--out", files.run, "--resume",
                                       "--seeds", "3",     "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Ended resumed = fulmar_program(arguments);
    CHECK_MESSAGE(resumed.code == 0, resumed.err);
    CHECK(lines_of(resumed.out) == lines);
    CHECK(json_in(ninth + "/config.json")["seed"] == 9);
    CHECK(tensors_in(ninth + "/last.safetensors") == before);
  }

  const Ended one = fulmar_program({"train", "--out", files.run, "--resume"});
  CHECK(one.code == 3);
  CHECK(has(one.err, "--seeds"));
  std::filesystem::remove_all(files.run + "/seed-7");
  const Ended taken = fulmar_program(files.arguments({"--seeds", "3", "--seed", "7"}));
  CHECK(taken.code == 3);
  CHECK(has(taken.err, eighth + " holds a run already"));
  CHECK_FALSE(std::filesystem::exists(files.run + "/seed-7"));
}

TEST_CASE("optimizers: adam is adamw without decay, sgd has momentum; resumed to the same bits") {
  const TrainingFiles files;
  const auto trained = [&](const std::string& run, const std::vector<std::string>& more,
                           const HowToRun& how = {}) {
    std::vector<std::string> words = files.arguments({"--epochs", "3", "--lr", "1e-2"});
    words[3] = files.folder.path(run);
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words, how);
    CHECK_MESSAGE(e.code == (how.interrupt_at.empty() ? 0 : 130), e.err);
  };
  const auto weights = [&](const std::string& run) {
    return tensors_in(files.folder.path(run + "/best.safetensors"));
  };
  trained("adam", {"--optimizer", "adam"});
  trained("adamw", {"--weight-decay", "0"});
  CHECK(weights("adam") == weights("adamw"));
  trained("sgd", {"--optimizer", "sgd"});
  trained("plain", {"--optimizer", "sgd", "--momentum", "0"});
  CHECK(weights("sgd") != weights("adam"));
  CHECK(weights("sgd") != weights("plain"));
  const Json config = json_in(files.folder.path("sgd/config.json"));
  CHECK(config["optimizer"] == "sgd");
  CHECK(config["momentum"] == 0.9);
  CHECK(config["adamw"].is_null());

  HowToRun how;
  how.interrupt_at = "epoch 1 ";
  trained("stopped", {"--optimizer", "sgd"}, how);
  const std::vector<std::string> resume{"train", "--out", files.folder.path("stopped"), "--resume"};
  const Ended resumed = fulmar_program(resume);
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  for (const char* file : {"/best.safetensors", "/last.safetensors"})
    CHECK(tensors_in(files.folder.path("stopped" + std::string(file))) ==
          tensors_in(files.folder.path("sgd" + std::string(file))));

  const auto refused = [&](std::vector<std::string> more, const std::string& said) {
    std::vector<std::string> words = files.arguments();
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    CHECK(e.code == 2);
    CHECK_MESSAGE(has(e.err, said), e.err);
  };
  refused({"--optimizer", "sgd", "--adamw", "keras"}, "--adamw goes with --optimizer adamw");
  refused({"--momentum", "0.5"}, "--momentum goes with --optimizer sgd");
  refused({"--optimizer", "adam", "--weight-decay", "0.1"}, "--weight-decay goes with");
  refused({"--optimizer", "sgd", "--protocol", "paper"}, "--protocol paper trains with AdamW");
  refused({"--cutmix", "0.5"}, "--cutmix goes with labels by pixel");
  std::vector<std::string> other = resume;
  other.insert(other.end(), {"--optimizer", "adam"});
  CHECK(has(fulmar_program(other).err, "--optimizer was \"sgd\" in the run to resume"));
}
