#include "data/folder_layout.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace fs = std::filesystem;

namespace {

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() > end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// What one word of a folder's name says.
std::optional<Part> part_of_word(std::string word) {
  while (!word.empty() && word.back() >= '0' && word.back() <= '9') word.pop_back();
  for (const std::string_view end : {"set", "data", "folder", "dir"})
    if (ends_with(word, end)) word.resize(word.size() - end.size());
  for (const char* name : {"train", "training", "trainval"})
    if (word == name) return Part::train;
  for (const char* name : {"val", "valid", "validation"})
    if (word == name) return Part::validation;
  for (const char* name : {"test", "testing"})
    if (word == name) return Part::test;
  return std::nullopt;
}

// A run that a process begins has its lock before its configuration.
bool holds_run(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  std::error_code error;
  if (fs::is_regular_file(folder / "run.lock", error)) return true;
  if (!fs::is_regular_file(path, error)) return false;
  try {
    const auto json = nlohmann::json::parse(read_file(path.string(), 1 << 20), nullptr, false);
    return json.is_object() && json.contains("fulmar") && json.contains("dataset");
  } catch (const Error&) {
    return false;
  }
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  try {
    for (const fs::path& path : subfolders(folder)) names.insert(path.filename().string());
  } catch (const Error&) {  // told of when it is scanned
  }
  return names;
}

// A folder that may be a part.
struct Candidate {
  fs::path path;
  Part part;
  std::set<std::string> folders;  // names within
};

// The folder of a part among the candidates: one with the customary name before all others.
std::optional<fs::path> choose(const std::vector<Candidate>& all, Part part, const char* what,
                               std::vector<std::string>& faults) {
  static const std::set<std::string> customary{"train", "val", "valid", "validation", "test"};
  std::vector<fs::path> exact, others;
  for (const Candidate& one : all)
    if (one.part == part)
      (customary.count(one.path.filename().string()) > 0 ? exact : others).push_back(one.path);
  const std::vector<fs::path>& fit = exact.empty() ? others : exact;
  if (fit.empty()) return std::nullopt;
  if (fit.size() > 1)
    faults.push_back(fit[1].string() + ": by its name the " + what + " part, as is " +
                     fit[0].filename().string() + "; rename or remove one of them");
  return fit[0];
}

}  // namespace

std::optional<Part> part_named(const std::string& name) {
  std::optional<Part> part;
  std::string word;
  const std::string text = lower(name) + " ";
  for (const char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      word += c;
      continue;
    }
    const std::optional<Part> of_word = part_of_word(word);
    if (part && of_word && *part != *of_word) return std::nullopt;
    if (of_word) part = of_word;
    word.clear();
  }
  return part;
}

bool is_leaving(const std::string& name) {
  const std::string small = lower(name);
  for (const char* whole : {"thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir", "@tmp", "#recycle",
                            "$recycle.bin", "__macosx", "lost+found", ".ds_store", ".directory"})
    if (small == whole) return true;
  for (const char* end : {"~", ".bak", ".orig", ".swp", ".tmp", ".temp", ".crdownload", ".part",
                          ".partial", ".filepart", ".download", ".opdownload", ".aria2"})
    if (ends_with(small, end)) return true;
  return small.rfind("._", 0) == 0 || small.rfind(".~", 0) == 0 || small.rfind(".trash", 0) == 0;
}

bool is_made_by_training(const fs::path& folder) {
  if (holds_run(folder)) return true;
  bool runs = false, caches = false;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.rfind("seed-", 0) == 0 && holds_run(it->path()))
      runs = true;
    else if (ends_with(name, ".fulmarpack"))
      caches = true;
    else if (name != "digests.txt" && !is_hidden(it->path()))
      return false;
  }
  return runs || caches;
}

bool is_hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> paths;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) paths.push_back(it->path());
  if (error)
    file_error(folder.string() + ": the folder can't be read: " + error.message() +
               "; check the path and its permissions");
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<fs::path> subfolders(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const fs::path& path : entries(folder))
    if (!is_hidden(path) && is_folder(path) && !is_leaving(path.filename().string()) &&
        !is_made_by_training(path))
      found.push_back(path);
  return found;
}

Parts find_parts(const std::string& folder) {
  Parts parts;
  std::vector<Candidate> all;
  bool only_parts = true;
  for (const fs::path& path : subfolders(folder)) {
    const std::optional<Part> part = part_named(path.filename().string());
    if (part)
      all.push_back({path, *part, names_in(path)});
    else
      only_parts = false;
  }
  const bool has_train = is_folder(fs::path(folder) / "train");
  // Whether a candidate holds a folder of the same name as one for another part.
  const auto shares = [&](const Candidate& one) {
    return std::any_of(all.begin(), all.end(), [&](const Candidate& other) {
      return other.part != one.part &&
             std::any_of(other.folders.begin(), other.folders.end(),
                         [&](const std::string& name) { return one.folders.count(name) > 0; });
    });
  };
  std::vector<Candidate> accepted;
  for (const Candidate& one : all) {
    const std::string name = one.path.filename().string();
    const bool called = name == "train" || name == "test" ||
                        (has_train && lower(name) == name && name.rfind("val", 0) == 0);
    if (called || (!one.folders.empty() && (only_parts || has_train || shares(one))))
      accepted.push_back(one);
  }
  parts.train = choose(accepted, Part::train, "training", parts.faults);
  parts.validation = choose(accepted, Part::validation, "validation", parts.faults);
  parts.test = choose(accepted, Part::test, "test", parts.faults);
  return parts;
}

}  // namespace fulmar::data
