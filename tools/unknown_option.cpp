#include "tools/unknown_option.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace fulmar::tools {
namespace {

using Names = std::vector<std::string>;

// Words of this program and of others for one thing.
const std::vector<Names>& same_things() {
  static const std::vector<Names> list{
      {"--out", "--output", "-o", "--csv", "--report-file"},
      {"--lr", "--learning-rate"},
      {"--batch", "--batch-size", "-b"},
      {"--size", "--image-size", "--img-size", "--imgsz"},
      {"--device", "--gpu", "--gpus", "--cuda"},
      {"--threads", "--loader-threads", "--workers", "--num-workers", "--jobs", "-j"},
      {"--init", "--weights", "--pretrained", "--model"},
      {"--validation", "--val", "--val-split", "--validation-split"},
      {"--stop-patience", "--plateau-patience", "--patience", "--early-stopping"},
      {"--precision", "--amp", "--bf16", "--fp16"},
  };
  return list;
}

// Letters to insert, remove or replace (Levenshtein).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); i++) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); j++) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

bool has(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Names names_of(const CLI::App& command) {
  Names names;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

Names perhaps_meant(const CLI::App& command, const std::string& option) {
  Names meant;
  const Names own = names_of(command);
  for (const Names& same : same_things())
    if (has(same, option))
      for (const std::string& name : same)
        if (has(own, name)) meant.push_back(name);
  const size_t near = option.size() > 8 ? 2 : 1;
  for (const std::string& name : own)
    if (!has(meant, name) && distance(option, name) <= near) meant.push_back(name);
  return meant;
}

std::string joined(const Names& names, const std::string& last) {
  std::string text;
  for (size_t i = 0; i < names.size(); i++)
    text += (i == 0 ? "" : i + 1 == names.size() ? last : ", ") + names[i];
  return text;
}

}  // namespace

std::string about_unknown_option(const CLI::App& program, const CLI::App& command,
                                 const std::string& option) {
  Names others;
  for (const CLI::App* other : program.get_subcommands({}))
    if (other->get_option_no_throw(option)) others.push_back(other->get_name());
  const Names meant = perhaps_meant(command, option);
  std::string text = command.get_name() + " has no option " + option;
  if (!others.empty())
    text += " (" + joined(others, " and ") + (others.size() > 1 ? " have)" : " has)");
  if (!meant.empty()) text += ": did you mean " + joined(meant, " or ") + "?";
  return text;
}

}  // namespace fulmar::tools
