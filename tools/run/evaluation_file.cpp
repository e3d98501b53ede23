#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <utility>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "tools/run/base64.h"
#include "tools/run/evaluation.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr int64_t format_version = 1;
constexpr uint64_t max_file_bytes = uint64_t{1} << 30;

// A float's shortest digits, which give the same float back.
Json probability_json(float value) {
  const double digits = shortest(value);
  return number_json(static_cast<float>(digits) == value ? digits : static_cast<double>(value));
}

double number_from(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

Json header_json(const Evaluation& e) {
  Json mistakes = Json::array();
  for (const Mistake& m : e.mistakes) {
    mistakes.push_back({{"sample", m.sample},
                        {"height", m.height},
                        {"width", m.width},
                        {"seen", {m.left, m.top, m.side_x, m.side_y}},
                        {"png", base64(m.png)}});
    if (!m.cam_png.empty()) mistakes.back()["cam"] = base64(m.cam_png);
  }
  return {{"format", format_version},
          {"set", e.set},
          {"model", e.model},
          {"model_crc32c", e.model_crc32c},
          {"folder", e.folder},
          {"time", e.time},
          {"command", e.command},
          {"classes", e.classes},
          {"positive_class", e.positive_class},
          {"threshold", e.threshold},
          {"loss_sum", number_json(e.predictions.loss_sum)},
          {"weight_sum", number_json(e.predictions.weight_sum)},
          {"mistakes", mistakes}};
}

Mistake mistake_from(const Json& json) {
  Mistake m;
  json.at("sample").get_to(m.sample);
  json.at("height").get_to(m.height);
  json.at("width").get_to(m.width);
  const auto seen = json.at("seen").get<std::array<double, 4>>();
  m.left = seen[0];
  m.top = seen[1];
  m.side_x = seen[2];
  m.side_y = seen[3];
  m.png = from_base64(json.at("png").get<std::string>());
  if (json.contains("cam")) m.cam_png = from_base64(json.at("cam").get<std::string>());
  return m;
}

void add_samples(const Json& samples, Evaluation& e) {
  for (const Json& sample : samples) {
    e.files.push_back(sample.at("file"));
    e.predictions.labels.push_back(sample.at("label"));
    for (const Json& probability : sample.at("probabilities"))
      e.predictions.probabilities.push_back(static_cast<float>(number_from(probability)));
  }
}

Evaluation evaluation_from(const Json& json) {
  if (json.at("format") != format_version)
    usage_error("it is of format " + json.at("format").dump() + ", which this version can't read");
  Evaluation e;
  json.at("set").get_to(e.set);
  json.at("model").get_to(e.model);
  json.at("model_crc32c").get_to(e.model_crc32c);
  json.at("folder").get_to(e.folder);
  json.at("time").get_to(e.time);
  json.at("command").get_to(e.command);
  json.at("classes").get_to(e.classes);
  json.at("positive_class").get_to(e.positive_class);
  json.at("threshold").get_to(e.threshold);
  const auto classes = static_cast<int64_t>(e.classes.size());
  const bool two = classes == 2;
  if (classes < 2 || e.positive_class < (two ? 0 : -1) || e.positive_class > (two ? 1 : -1))
    usage_error("its positive class is none of its classes");
  e.predictions = model::Predictions(classes);
  e.predictions.loss_sum = number_from(json.at("loss_sum"));
  e.predictions.weight_sum = number_from(json.at("weight_sum"));
  add_samples(json.at("samples"), e);
  e.predictions.check();
  for (const Json& mistake : json.at("mistakes")) {
    e.mistakes.push_back(mistake_from(mistake));
    if (e.mistakes.back().sample < 0 || e.mistakes.back().sample >= e.predictions.size())
      usage_error("a mistake is none of its pictures");
  }
  return e;
}

}  // namespace

std::string evaluation_text(const Evaluation& e) {
  const auto dump = [](const Json& json, int indent) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
  };
  std::string text = dump(header_json(e), 1);
  text.resize(text.size() - 2);  // "\n}"
  text += ",\n \"samples\": [\n";
  for (int64_t i = 0; i < e.predictions.size(); i++) {
    const auto at = static_cast<size_t>(i);
    Json probabilities = Json::array();
    for (int64_t k = 0; k < e.predictions.classes; k++)
      probabilities.push_back(probability_json(e.probability(i, k)));
    const Json sample{{"file", e.files[at]},
                      {"label", e.predictions.labels[at]},
                      {"probabilities", probabilities}};
    text += "  " + dump(sample, -1) + (i + 1 < e.predictions.size() ? ",\n" : "\n");
  }
  return text + " ]\n}\n";
}

Evaluation read_evaluation(const std::string& path) {
  try {
    return evaluation_from(Json::parse(read_file(path, max_file_bytes)));
  } catch (const Json::exception& error) {
    file_error(path + ": not an evaluation that this version wrote (" + error.what() +
               "); make it anew with 'fulmar eval --report', or remove it");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    file_error(path + ": not an evaluation that this version wrote: " + error.what() +
               "; make it anew with 'fulmar eval --report', or remove it");
  }
}

std::string evaluation_name(const std::string& evaluated, const std::string& model) {
  const std::string folder = std::filesystem::absolute(evaluated).lexically_normal().string();
  const std::string key = folder + "\n" + last_part(model);
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x",
                static_cast<unsigned>(crc32c(key.data(), key.size())));
  std::string name;
  for (const char c : last_part(folder).substr(0, 40)) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    name += plain ? c : '-';
  }
  return name + "-" + digits;
}

std::string evaluation_path(const std::string& run, const Evaluation& evaluation) {
  return model::RunFolder(run).evaluation(evaluation.set.empty()
                                              ? evaluation_name(evaluation.folder, evaluation.model)
                                              : evaluation.set);
}

}  // namespace fulmar::tools
