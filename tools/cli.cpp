#include "tools/cli.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <limits>
#include <new>

#include "include/fulmar/fulmar.h"
#include "kernels/backend.h"
#include "kernels/error.h"
#include "kernels/version.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/unknown_option.h"

namespace fulmar::tools {
namespace {

// CLI11's, without what would stretch the left column.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { label("Positionals", "Arguments"); }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_size() == 0) return "";
    return " " + option->get_type_name();
  }
};

std::string version_text() {
  return std::string("fulmar ") + version() + "\ncommit " + commit() + "\ninstruction set " +
         cpu_backend().isa() + "\nbackends cpu, cuda where its library is ('fulmar devices')\n";
}

template <class T>
T number_of(const std::string& text, T min, T max, const std::string& option) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [at, reason] = std::from_chars(text.data(), end, value);
  const Json low = min, high = max;
  if (text.empty() || at != end ||
      (reason != std::errc{} && reason != std::errc::result_out_of_range))
    throw CLI::ValidationError(
        option, "'" + text + "' is not " + (std::is_integral_v<T> ? "a whole number" : "a number"));
  if (reason != std::errc{} || !(value >= min && value <= max))
    throw CLI::ValidationError(option,
                               text + " is not between " + low.dump() + " and " + high.dump());
  return value;
}

// The name that messages use: the longest, "--threads" of "-t,--threads".
std::string main_name(const std::string& names) {
  const size_t comma = names.rfind(',');
  return comma == std::string::npos ? names : names.substr(comma + 1);
}

template <class T, class Value>
CLI::Option* add_one(CLI::App& app, const std::string& names, Value& value, T min, T max,
                     const std::string& description, const std::string& what) {
  const std::string option = main_name(names);
  return app
      .add_option_function<std::string>(
          names,
          [&value, min, max, option](const std::string& text) {
            value = number_of<T>(text, min, max, option);
          },
          description)
      ->type_name(what);
}

template <class Value>
CLI::Option* add_path_to(CLI::App& app, const std::string& names, Value& value,
                         const std::string& description, const std::string& what) {
  const std::string option = main_name(names);
  const auto parse = [&value, option](const std::string& text) {
    if (text.empty()) throw CLI::ValidationError(option, "an empty path is none");
    value = text;
  };
  return app.add_option_function<std::string>(names, parse, description)->type_name(what);
}

// `store` gets the place of the chosen word among the choices.
CLI::Option* add_choice_of(CLI::App& app, const std::string& names,
                           const std::vector<std::string>& choices,
                           std::function<void(size_t)> store, const std::string& description) {
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : "|") + choice;
  const std::string option = main_name(names);
  const auto parse = [choices, list, option, store = std::move(store)](const std::string& text) {
    const auto found = std::find(choices.begin(), choices.end(), text);
    if (found == choices.end())
      throw CLI::ValidationError(option, "'" + text + "' is none of " + list);
    store(static_cast<size_t>(found - choices.begin()));
  };
  return app.add_option_function<std::string>(names, parse, description)->type_name(list);
}

void add_shared_options(CLI::App& command, SharedOptions& shared) {
  const char* group = "Shared by all subcommands";
  command.add_flag("--json", shared.json, "Results as JSON on standard output")->group(group);
  add_one<uint64_t>(command, "--seed", shared.seed, 0, UINT64_MAX,
                    "What all random draws start from (default 0)", "N")
      ->group(group);
  add_integer(
      command, "--threads", shared.threads, 0, 1024,
      "Threads; results don't depend on them (default 0: as many as processors may be used,\n"
      "by affinity and by the control groups' quota)")
      ->group(group);
  command.set_help_flag("-h,--help", "What this subcommand does and takes")->group(group);
  command.set_help_all_flag("--help-all", "The same")->group(group);
}

// A word as a shell takes it.
std::string quoted(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("%+,-./:=@_").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string command_line(int argc, char** argv) {
  std::string line;
  for (int i = 0; i < argc; i++) line += (i == 0 ? "" : " ") + quoted(argv[i]);
  return line;
}

// The innermost subcommand that was given: step of "bench step".
const CLI::App& chosen_command(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : chosen_command(*given.front());
}

// What is wrong with the arguments.
std::string complaint(const CLI::App& program, const CLI::ParseError& error) {
  const auto unknown = [](const CLI::App& app) -> std::string {
    for (const std::string& word : app.remaining())
      if (word.size() > 1 && word[0] == '-') return word.substr(0, word.find('='));
    return "";
  };
  const CLI::App& given = chosen_command(program);
  if (&given == &program)
    return program.remaining().empty()
               ? error.what()
               : "'" + program.remaining().front() + "' is neither a subcommand nor an option";
  const std::string option = unknown(given);
  return option.empty() ? error.what() : about_unknown_option(program, given, option);
}

int parse_and_run(Cli& cli, int argc, char** argv) {
  cli.shared.command = command_line(argc, argv);
  for (CLI::App* command : cli.app.get_subcommands({})) {
    if (command->get_name() != "help") add_shared_options(*command, cli.shared);
    for (CLI::App* inner : command->get_subcommands({})) add_shared_options(*inner, cli.shared);
  }
  try {
    cli.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(cli.app.help());
    return exit_ok;
  } catch (const CLI::CallForAllHelp&) {
    print(cli.app.help("", CLI::AppFormatMode::All));
    return exit_ok;
  } catch (const CLI::CallForVersion& version) {
    print(version.what());
    return exit_ok;
  } catch (const CLI::ParseError& error) {
    say(complaint(cli.app, error));
    std::string names;
    for (const CLI::App* at = &cli.app; !at->get_subcommands().empty();)
      names += (at = at->get_subcommands().front())->get_name() + " ";
    say("see 'fulmar " + names + "--help'");
    return exit_usage;
  }
  return cli.chosen();
}

}  // namespace

// The C API says the same.
static_assert(static_cast<int>(exit_ok) == FULMAR_OK &&
              static_cast<int>(exit_internal) == FULMAR_INTERNAL &&
              static_cast<int>(exit_usage) == FULMAR_USAGE &&
              static_cast<int>(exit_file) == FULMAR_FILE &&
              static_cast<int>(exit_device) == FULMAR_DEVICE &&
              static_cast<int>(exit_diverged) == FULMAR_DIVERGED &&
              static_cast<int>(exit_cancelled) == FULMAR_CANCELLED);

ExitCode code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return exit_usage;
    case ErrorKind::file:
      return exit_file;
    case ErrorKind::device:
      return exit_device;
    case ErrorKind::diverged:
      return exit_diverged;
    case ErrorKind::cancelled:
      return exit_cancelled;
  }
  return exit_internal;
}

Cli::Cli() : app("Trains, evaluates and runs networks on radar images.") {
  app.name("fulmar");
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(1);
  app.get_help_ptr()->description("This text; after a subcommand: what that does and takes");
  app.set_help_all_flag("--help-all", "This text with what each subcommand takes");
  app.set_version_flag("--version", version_text, "Version, commit, instruction set and backends");
  app.footer(
      "Results go to standard output, progress and notes to standard error.\n"
      "Exit codes: 0 done, 2 wrong arguments, 3 a file that can't be read, understood or written,\n"
      "4 device or memory, 5 training diverged, 130 interrupted, 1 a fault of the program itself.");
}

CLI::App& add_command(Cli& cli, const std::string& name, const std::string& description,
                      std::function<int()> run) {
  CLI::App& command = *cli.app.add_subcommand(name, description);
  command.callback([&cli, run = std::move(run)] { cli.chosen = run; });
  return command;
}

CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value, int64_t min,
                         int64_t max, const std::string& description, const std::string& what) {
  return add_one<int64_t>(app, names, value, min, max, description, what);
}

CLI::Option* add_number(CLI::App& app, const std::string& names, double& value, double min,
                        double max, const std::string& description, const std::string& what) {
  return add_one<double>(app, names, value, min, max, description, what);
}

CLI::Option* add_integer(CLI::App& app, const std::string& names, std::optional<int64_t>& value,
                         int64_t min, int64_t max, const std::string& description,
                         const std::string& what) {
  return add_one<int64_t>(app, names, value, min, max, description, what);
}

CLI::Option* add_number(CLI::App& app, const std::string& names, std::optional<double>& value,
                        double min, double max, const std::string& description,
                        const std::string& what) {
  return add_one<double>(app, names, value, min, max, description, what);
}

CLI::Option* add_path(CLI::App& app, const std::string& names, std::string& value,
                      const std::string& description, const std::string& what) {
  return add_path_to(app, names, value, description, what);
}

CLI::Option* add_path(CLI::App& app, const std::string& names, std::optional<std::string>& value,
                      const std::string& description, const std::string& what) {
  return add_path_to(app, names, value, description, what);
}

CLI::Option* add_integers(CLI::App& app, const std::string& names, std::vector<int64_t>& values,
                          int64_t min, int64_t max, const std::string& description,
                          const std::string& what) {
  const std::string option = main_name(names);
  const auto parse = [&values, min, max, option](const std::string& text) {
    values.clear();
    for (size_t from = 0; from <= text.size();) {
      const size_t comma = std::min(text.find(',', from), text.size());
      values.push_back(number_of<int64_t>(text.substr(from, comma - from), min, max, option));
      from = comma + 1;
    }
  };
  return app.add_option_function<std::string>(names, parse, description)->type_name(what);
}

CLI::Option* add_numbers(CLI::App& app, const std::string& names,
                         std::optional<std::vector<double>>& values, size_t count,
                         const std::string& description, const std::string& what) {
  const std::string option = main_name(names);
  const auto parse = [&values, count, option](const std::string& text) {
    constexpr double most = std::numeric_limits<float>::max();
    values.emplace();
    for (size_t from = 0; from <= text.size();) {
      const size_t comma = std::min(text.find(',', from), text.size());
      values->push_back(number_of<double>(text.substr(from, comma - from), -most, most, option));
      from = comma + 1;
    }
    if (count > 0 && values->size() != count)
      throw CLI::ValidationError(option, "'" + text + "' is not " + std::to_string(count) +
                                             " numbers with commas between");
  };
  return app.add_option_function<std::string>(names, parse, description)->type_name(what);
}

CLI::Option* add_bytes(CLI::App& app, const std::string& names, std::optional<size_t>& value,
                       const std::string& description) {
  const auto parse = [&value, option = main_name(names)](const std::string& text) {
    value.reset();
    if (text == "auto") return;
    value = text == "off" ? 0 : number_of<size_t>(text, 0, SIZE_MAX, option);
  };
  return app.add_option_function<std::string>(names, parse, description)
      ->type_name("auto|off|BYTES");
}

CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::vector<std::string>& choices, const std::string& description) {
  return add_choice_of(
      app, names, choices, [&value, choices](size_t i) { value = choices[i]; }, description);
}

CLI::Option* add_choice(CLI::App& app, const std::string& names, std::optional<std::string>& value,
                        const std::vector<std::string>& choices, const std::string& description) {
  return add_choice_of(
      app, names, choices, [&value, choices](size_t i) { value = choices[i]; }, description);
}

CLI::Option* add_choice(CLI::App& app, const std::string& names, int64_t& value,
                        const std::vector<int64_t>& choices, const std::string& description) {
  std::vector<std::string> words;
  for (const int64_t choice : choices) words.push_back(std::to_string(choice));
  return add_choice_of(
      app, names, words, [&value, choices](size_t i) { value = choices[i]; }, description);
}

bool is_device(const std::string& name) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.rfind("cuda:", 0) == 0)
    return name.size() > 5 && name.size() < 10 && std::all_of(name.begin() + 5, name.end(), digit);
  return name == "auto" || name == "cpu" || name == "cuda";
}

namespace {

void add_device_option(CLI::App& app, SharedOptions& shared, const std::string& otherwise,
                       bool emulator) {
  const std::string choices = emulator ? "auto|cpu|cuda|cuda:N|simt" : "auto|cpu|cuda|cuda:N";
  const auto parse = [&shared, choices, emulator](const std::string& text) {
    if (!is_device(text) && !(emulator && text == "simt"))
      throw CLI::ValidationError("--device", "'" + text + "' is none of " + choices);
    shared.device = text;
  };
  app.add_option_function<std::string>(
         "--device", parse,
         std::string("Where to compute; cuda: the first GPU, cuda:N: GPU number N of 'fulmar "
                     "devices', auto: a GPU\nwhere one can be used, else the CPU") +
             (emulator ? ", simt: the emulator, with --counters" : "") + " (default " + otherwise +
             ")")
      ->type_name(choices);
}

}  // namespace

void add_device(CLI::App& app, SharedOptions& shared, const std::string& otherwise) {
  add_device_option(app, shared, otherwise, false);
}
void add_device_or_emulator(CLI::App& app, SharedOptions& shared) {
  add_device_option(app, shared, "auto", true);
}

CLI::Option* add_precision(CLI::App& app, std::optional<std::string>& value) {
  return add_choice(app, "--precision", value, {"bf16", "fp32", "tf32"},
                    "Of activations; tf32: fp32 whose products round to 10 bits, on a GPU (default "
                    "bf16 on a\nGPU, fp32 on the CPU)");
}

int run_cli(Cli& cli, int argc, char** argv) {
  try {
    const int code = parse_and_run(cli, argc, argv);
    flush_output();
    return code;
  } catch (const OutputClosed&) {
    end_by_closed_pipe();
  } catch (const Error& error) {
    say(error.what());
    return code_of(error.kind());
  } catch (const std::bad_alloc&) {
    say("out of memory: use a smaller --batch, --crop or --size, or a machine with more");
    return exit_device;
  } catch (const std::filesystem::filesystem_error& error) {
    say(error.what());
    return exit_file;
  } catch (const std::exception& error) {
    say(std::string("a fault of the program itself, please report it: ") + error.what());
    return exit_internal;
  }
}

CommandContext::CommandContext(const SharedOptions& options)
    : device_(options.device),
      precision_(options.precision),
      context_(Context::Options{static_cast<int>(options.threads),
                                [](const std::string& note) { say(note); }}),
      cancel_on_signal_(context_) {}

Device& CommandContext::device(const std::string& name,
                               const std::optional<std::string>& precision) {
  return context_.device(name, precision ? precision_named(*precision) : std::nullopt);
}

}  // namespace fulmar::tools
