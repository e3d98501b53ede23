#include "data/scene_names.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace fs = std::filesystem;

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return result;
}

// What stands between the separators of a name, in capitals.
std::vector<std::string> tokens_of(std::string_view name) {
  std::vector<std::string> tokens;
  std::string token;
  for (const char c : name) {
    if (std::string_view("_-. ").find(c) == std::string_view::npos) {
      token += c;
    } else if (!token.empty()) {
      tokens.push_back(upper(token));
      token.clear();
    }
  }
  if (!token.empty()) tokens.push_back(upper(token));
  return tokens;
}

bool is_satellite(const std::string& token) {
  return token.size() == 3 && token[0] == 'S' && token[1] == '1' && token[2] >= 'A' &&
         token[2] <= 'D';
}

// 20190101 or 20190101T010412.
bool is_time(const std::string& token) {
  if (token.size() != 8 && token.size() != 15) return false;
  for (size_t i = 0; i < token.size(); i++)
    if (i == 8 ? token[i] != 'T' : !is_digit(token[i])) return false;
  const std::string year = token.substr(0, 4), month = token.substr(4, 2), day = token.substr(6, 2);
  return year >= "2014" && year < "2100" && month >= "01" && month <= "12" && day >= "01" &&
         day <= "31";
}

bool is_of_six(const std::string& token, bool hexadecimal) {
  return token.size() == 6 && std::all_of(token.begin(), token.end(), [&](char c) {
           return is_digit(c) || (hexadecimal && c >= 'A' && c <= 'F');
         });
}

// The file's name up to the first '_'; "" without one.
std::string prefix_of(const std::string& name) {
  const std::string file = fs::path(name).filename().string();
  const size_t end = file.find('_');
  return end == std::string::npos ? "" : file.substr(0, end);
}

// The scene that the names of the file and of its folders within the class tell.
std::string sentinel1_scene_of(const Sample& sample) {
  std::vector<std::string> parts;
  for (const fs::path& part : fs::path(sample.name)) parts.push_back(part.string());
  const size_t of_class = sample.label_files.empty() ? 1 : 0;  // a folder of its own
  for (size_t i = parts.size(); i > of_class; i--) {
    std::string scene = sentinel1_scene(parts[i - 1]);
    if (!scene.empty()) return scene;
  }
  return "";
}

// Whether a prefix that begins so many names of a class's `pictures` tells scenes apart.
bool tells_scenes(const std::string& prefix, size_t begins, size_t pictures,
                  const std::string& class_name) {
  if (prefix.empty() || upper(prefix) == upper(class_name) || is_satellite(upper(prefix)))
    return false;
  const bool word = std::none_of(prefix.begin(), prefix.end(), is_digit);
  return !(word && begins == pictures && pictures >= 3);
}

}  // namespace

SceneRule scene_rule_named(const std::string& word) {
  if (word == "name") return SceneRule::name;
  if (word == "prefix") return SceneRule::prefix;
  if (word == "file") return SceneRule::file;
  usage_error("--scenes takes name, prefix or file, not '" + word + "'");
}

std::string sentinel1_scene(std::string_view name) {
  const std::vector<std::string> tokens = tokens_of(name);
  const auto satellite = std::find_if(tokens.begin(), tokens.end(), is_satellite);
  const auto start = std::find_if(satellite, tokens.end(), is_time);
  if (start == tokens.end()) return "";
  std::string scene = *satellite + "_" + *start;
  // Behind the start: the stop, the absolute orbit, the data take.
  auto at = start + 1;
  if (at != tokens.end() && is_time(*at)) ++at;
  if (tokens.end() - at >= 2 && is_of_six(*at, false) && is_of_six(*(at + 1), true))
    scene += "_" + *(at + 1);
  return scene;
}

int month_in(std::string_view name) {
  const std::vector<std::string> tokens =
      tokens_of(fs::path(std::string(name)).filename().string());
  const auto time = std::find_if(tokens.begin(), tokens.end(), is_time);
  return time == tokens.end() ? 0 : std::stoi(time->substr(4, 2));
}

void name_scenes(Dataset& dataset, SceneRule rule) {
  std::map<std::pair<int32_t, std::string>, size_t> begins;  // by class and prefix
  for (const Sample& sample : dataset.samples) begins[{sample.label, prefix_of(sample.name)}]++;
  const std::vector<int64_t> counts = dataset.class_counts();
  for (Sample& sample : dataset.samples) {
    sample.scene = sample.name;
    if (rule == SceneRule::file) continue;
    const std::string prefix = prefix_of(sample.name);
    if (rule == SceneRule::prefix) {
      if (!prefix.empty()) sample.scene = prefix;
      continue;
    }
    const auto label = static_cast<size_t>(sample.label);
    if (std::string scene = sentinel1_scene_of(sample); !scene.empty())
      sample.scene = std::move(scene);
    else if (tells_scenes(prefix, begins[{sample.label, prefix}],
                          static_cast<size_t>(counts[label]), dataset.classes[label]))
      sample.scene = prefix;
  }
}

std::string describe_scenes(const Dataset& dataset) {
  std::map<std::string, size_t> pictures;
  for (const Sample& sample : dataset.samples) pictures[sample.scene]++;
  std::vector<std::pair<size_t, std::string>> scenes;  // the largest first
  for (const auto& [scene, count] : pictures) scenes.emplace_back(count, scene);
  std::stable_sort(scenes.begin(), scenes.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text = std::to_string(scenes.size()) + (scenes.size() == 1 ? " scene" : " scenes");
  if (scenes.empty()) return text;
  const size_t most = scenes.front().first, least = scenes.back().first;
  if (most == 1) return text + (scenes.size() == 1 ? "" : ", each a single picture");
  constexpr size_t named = 6;
  if (scenes.size() > named)
    return text + " of " +
           (least == most ? std::to_string(most)
                          : std::to_string(least) + " to " + std::to_string(most)) +
           " pictures";
  std::string list;
  for (const auto& [count, scene] : scenes)
    list += (list.empty() ? ": " : ", ") + scene + " " + std::to_string(count);
  return text + list;
}

}  // namespace fulmar::data
