#include "tools/compare_table.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/cli.h"
#include "tools/train_options.h"

namespace fulmar::tools {
namespace {

constexpr size_t longest_name = 120;  // of a folder

// One value of an axis: what people call it, and the options that it stands for.
struct Choice {
  std::string label;
  Json options = Json::object();
};
struct Axis {
  std::string name;
  bool of_option = true;
  std::vector<Choice> choices;
};

// As a command line has it.
std::string option_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& item : value) text += (text.empty() ? "" : ",") + option_text(item);
  return text;
}

// For a folder's name.
std::string plain(const std::string& text) {
  std::string name;
  for (const char c : text)
    name +=
        std::isalnum(static_cast<unsigned char>(c)) || c == ',' || c == '.' || c == '+' ? c : '-';
  return name;
}

class TableReader {
 public:
  explicit TableReader(const std::string& path) : path_(path) {}

  ComparisonOptions read() {
    const Json table = Json::parse(read_file(path_, 1 << 20), nullptr, false);
    if (!table.is_object()) file_error(path_ + ": no JSON object");
    for (const auto& [key, value] : table.items())
      if (key != "data" && key != "common" && key != "axes" && key != "seeds" && key != "explain")
        refuse("'" + key + "' is not known; a table has data, common, axes, seeds and explain");
    if (!table.value("data", Json()).is_string())
      refuse("'data' is missing: the folder of the pictures");
    options_.folder = table.at("data").get<std::string>();
    const Json common = table.value("common", Json::object());
    if (!common.is_object()) refuse("'common' must be an object of options: {\"epochs\": 30}");
    options_.seeds = list<int64_t>(table, "seeds", {1}, &Json::is_number_unsigned, "[1, 2, 3]");
    options_.explained = list<std::string>(table, "explain", {}, &Json::is_string, "[\"SIC:0\"]");
    const std::vector<Axis> axes = axes_of(table.value("axes", Json::object()));
    for (const Axis& axis : axes) options_.axes.push_back(axis.name);
    add_trainings(axes, 0, common, {}, "");
    return std::move(options_);
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const { usage_error(path_ + ": " + reason); }

  template <class T>
  std::vector<T> list(const Json& table, const char* key, std::vector<T> otherwise,
                      bool (Json::*is)() const noexcept, const std::string& example) const {
    if (!table.contains(key)) return otherwise;
    const Json& given = table.at(key);
    if (!given.is_array() ||
        !std::all_of(given.begin(), given.end(), [&](const Json& one) { return (one.*is)(); }))
      refuse(std::string("'") + key + "' must be a list such as " + example);
    return given.get<std::vector<T>>();
  }

  std::vector<Axis> axes_of(const Json& given) const {
    if (!given.is_object()) refuse("'axes' must be an object: {\"rates\": [\"6,12\", \"12,24\"]}");
    std::vector<Axis> axes;
    for (const auto& [name, values] : given.items()) {
      if (!values.is_structured() || values.empty())
        refuse("axes: '" + name + "' must be a list of values, or an object of options by label");
      Axis axis{name, values.is_array(), {}};
      for (const auto& [label, value] : values.items()) {
        if (axis.of_option) {
          axis.choices.push_back({option_text(value), {{name, value}}});
          continue;
        }
        if (!value.is_object()) refuse("axes: '" + name + "': '" + label + "' must be an object");
        axis.choices.push_back({label, value});
      }
      axes.push_back(std::move(axis));
    }
    return axes;
  }

  // All choices of the axes from `next` on, with those of the earlier ones in `options`.
  void add_trainings(const std::vector<Axis>& axes, size_t next, const Json& options,
                     std::vector<std::string> values, const std::string& name) {
    if (next == axes.size()) {
      ComparedTraining training{folder_name(name.empty() ? "all" : name), std::move(values), {}};
      training.config = config_of(options, training.name);
      options_.trainings.push_back(std::move(training));
      return;
    }
    const Axis& axis = axes[next];
    for (const Choice& choice : axis.choices) {
      Json more = options;
      for (const auto& [key, value] : choice.options.items()) {
        if (more.contains(key))
          refuse("'" + key + "' stands in several places; take it out of 'common' or an axis");
        more[key] = value;
      }
      std::vector<std::string> all = values;
      all.push_back(choice.label);
      add_trainings(axes, next + 1, more, std::move(all),
                    name + (name.empty() ? "" : "_") +
                        (axis.of_option ? plain(axis.name) + "-" : "") + plain(choice.label));
    }
  }

  std::string folder_name(std::string name) {
    if (name.size() > longest_name) name.resize(longest_name);
    std::string free = name;
    for (int i = 2; !names_.insert(free).second; i++) free = name + "~" + std::to_string(i);
    return free;
  }

  TrainConfig config_of(const Json& options, const std::string& training) const {
    CLI::App app;
    TrainConfig config;
    add_config_options(app, config);
    std::vector<std::string> arguments;
    for (const auto& [key, value] : options.items()) {
      const CLI::Option* option = app.get_option_no_throw("--" + key);
      if (!option)
        refuse("'" + key + "' is no option of 'fulmar train' that decides what a training gives");
      const bool flag = option->get_expected_max() == 0;
      if (flag && !value.is_boolean()) refuse("'" + key + "' is true or false");
      if (flag && value.get<bool>()) arguments.push_back("--" + key);
      if (!flag) arguments.push_back("--" + key + "=" + option_text(value));
    }
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    config.dataset = options_.folder;
    try {
      app.parse(arguments);
      config.resolve();
    } catch (const CLI::ParseError& error) {
      refuse(training + ": " + error.what());
    } catch (const Error& error) {
      throw Error(error.kind(), path_ + ": " + training + ": " + error.what());
    }
    return config;
  }

  std::string path_;
  ComparisonOptions options_;
  std::set<std::string> names_;
};

}  // namespace

ComparisonOptions read_comparison(const std::string& path) { return TableReader(path).read(); }

}  // namespace fulmar::tools
