#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "tools/exit_code.h"
#include "tools/signals.h"

namespace fulmar::tools {

// The options that every subcommand takes.
struct SharedOptions {
  bool json = false;
  uint64_t seed = 0;
  int64_t threads = 0;  // 0: as ThreadPool chooses
  std::string device = "auto";
  std::optional<std::string> precision;  // of the device; none: its own default
  std::string command;                   // the whole line, as a shell takes it
};

// The command line: its subcommands, and the one that was chosen.
struct Cli {
  Cli();

  CLI::App app;
  SharedOptions shared;
  std::function<int()> chosen;
};

// Adds a subcommand, which gets the shared options too; `run` does its work and gives the exit
// code.
CLI::App& add_command(Cli& cli, const std::string& name, const std::string& description,
                      std::function<int()> run);

// Options that take a number: written out in full, in decimal, within [min, max], whatever the
// locale. `what` stands for the number in the help.
CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value, int64_t min,
                         int64_t max, const std::string& description,
                         const std::string& what = "N");
CLI::Option* add_number(CLI::App& app, const std::string& names, double& value, double min,
                        double max, const std::string& description, const std::string& what = "X");
// The same for optional values: unset where the option was not given.
CLI::Option* add_integer(CLI::App& app, const std::string& names, std::optional<int64_t>& value,
                         int64_t min, int64_t max, const std::string& description,
                         const std::string& what = "N");
CLI::Option* add_number(CLI::App& app, const std::string& names, std::optional<double>& value,
                        double min, double max, const std::string& description,
                        const std::string& what = "X");
// A file or folder by its path, not empty.
CLI::Option* add_path(CLI::App& app, const std::string& names, std::string& value,
                      const std::string& description, const std::string& what);
CLI::Option* add_path(CLI::App& app, const std::string& names, std::optional<std::string>& value,
                      const std::string& description, const std::string& what);
// A list of integers with commas between: "8,16,32".
CLI::Option* add_integers(CLI::App& app, const std::string& names, std::vector<int64_t>& values,
                          int64_t min, int64_t max, const std::string& description,
                          const std::string& what = "N,N,...");
// `count` numbers with commas between: "-30,0"; of 0 any number of them.
CLI::Option* add_numbers(CLI::App& app, const std::string& names,
                         std::optional<std::vector<double>>& values, size_t count,
                         const std::string& description, const std::string& what);
// A number of bytes, "off" for 0 or "auto" for none.
CLI::Option* add_bytes(CLI::App& app, const std::string& names, std::optional<size_t>& value,
                       const std::string& description);
// One of a few words, or of a few numbers.
CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::vector<std::string>& choices, const std::string& description);
CLI::Option* add_choice(CLI::App& app, const std::string& names, std::optional<std::string>& value,
                        const std::vector<std::string>& choices, const std::string& description);
CLI::Option* add_choice(CLI::App& app, const std::string& names, int64_t& value,
                        const std::vector<int64_t>& choices, const std::string& description);

// Whether --device takes it: auto, cpu, cuda or cuda:N.
bool is_device(const std::string& name);
// Where a subcommand computes, and in which precision.
void add_device(CLI::App& app, SharedOptions& shared, const std::string& otherwise = "auto");
// The same, and "simt", the emulator: for subcommands that count there.
void add_device_or_emulator(CLI::App& app, SharedOptions& shared);
CLI::Option* add_precision(CLI::App& app, std::optional<std::string>& value);

// Parses, runs what was chosen, and turns every error into a line on stderr and an exit code.
int run_cli(Cli& cli, int argc, char** argv);

// A Context as the options say: notes go to stderr, and a signal cancels it.
class CommandContext {
 public:
  explicit CommandContext(const SharedOptions& options);

  Context& context() { return context_; }
  // That of --device and --precision, or another; opened when first asked for. Errors as
  // Context::device.
  Device& device() { return device(device_, precision_); }
  Device& device(const std::string& name, const std::optional<std::string>& precision);

 private:
  std::string device_;
  std::optional<std::string> precision_;
  Context context_;
  CancelOnSignal cancel_on_signal_;
};

// The subcommands, each in the file of its name.
void add_bench(Cli& cli);
void add_check(Cli& cli);
void add_compare(Cli& cli);
void add_devices(Cli& cli);
void add_eval(Cli& cli);
void add_explain(Cli& cli);
void add_export(Cli& cli);
void add_help(Cli& cli);
void add_import(Cli& cli);
void add_info(Cli& cli);
void add_predict(Cli& cli);
void add_report(Cli& cli);
void add_resolution(Cli& cli);
void add_robustness(Cli& cli);
void add_split(Cli& cli);
void add_synth(Cli& cli);
void add_train(Cli& cli);

}  // namespace fulmar::tools
