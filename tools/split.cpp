#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "kernels/version.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/progress.h"
#include "tools/run/audit_text.h"
#include "tools/run/text.h"
#include "tools/signals.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string folder, out, scenes = "name";
  double test = 0, validation = 0;
  std::optional<std::string> bands;
  bool link = false;
};

struct Part {
  std::string name;  // of its folder
  data::Dataset dataset;
};

// Takes a share out of the training part, the first one, as a part of its own.
void hold_out(std::vector<Part>& parts, const std::string& name, const char* option, double share,
              uint64_t seed) {
  data::Split split = data::split_dataset(parts.front().dataset, share, seed);
  if (const std::string missed = data::missed_share(split, share); !missed.empty())
    note(std::string(option) + ": " + missed);
  parts.front().dataset = std::move(split.train);
  parts.push_back({name, std::move(split.held_out)});
}

std::vector<Part> parts_of(const Options& options, uint64_t seed) {
  data::Folder folder = data::scan_folder(options.folder, data::scene_rule_named(options.scenes),
                                          data::BandFiles::parse(options.bands.value_or("")));
  for (const std::string& text : left_out_notes(folder)) note(text);
  for (const std::string& text : folder.notes) note(text);
  if (!folder.test_folder.empty())
    usage_error(folder.test_folder + ": a test part already; give the folder of the training part");
  if (folder.validation && options.validation > 0)
    usage_error(folder.validation->folder + ": a validation part already; leave --validation out");
  std::vector<Part> parts{{"train", std::move(folder.train)}};
  hold_out(parts, "test", "--test", options.test, seed);
  if (options.validation > 0) hold_out(parts, "val", "--validation", options.validation, seed);
  if (folder.validation) parts.push_back({"val", std::move(*folder.validation)});
  return parts;
}

// A file to be made.
struct Order {
  fs::path from;
  fs::path to;  // within the new folder
};

std::vector<Order> orders_of(const std::vector<Part>& parts) {
  std::vector<Order> orders;
  for (const Part& part : parts)
    for (const data::Sample& sample : part.dataset.samples)
      for (const std::string& file : part.dataset.bands.files_of(sample.path))
        orders.push_back(
            {fs::absolute(file).lexically_normal(),
             fs::path(part.name) / fs::path(file).lexically_relative(part.dataset.folder)});
  return orders;
}

// Error(file): something is there already, or the source would change.
void require_place(const Options& options) {
  std::error_code error;
  const fs::path out = fs::weakly_canonical(options.out, error);
  const fs::path source = fs::weakly_canonical(options.folder, error);
  const auto [end, ignored] = std::mismatch(source.begin(), source.end(), out.begin(), out.end());
  if (end == source.end())
    file_error(options.out + ": lies in " + options.folder +
               ", which must stay as it is; name a folder outside it");
  if (fs::exists(options.out, error) &&
      (!fs::is_directory(options.out, error) || !fs::is_empty(options.out, error)))
    file_error(options.out + ": holds something already; name a new or empty folder");
}

[[noreturn]] void failed(const fs::path& path, const std::string& why) {
  file_error(path.string() + ": can't be written: " + why + "; mend that, and split again");
}

// Names what is written on the disk before the folder gets its name.
void sync_all(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) failed(folder, std::strerror(errno));
  const int result = ::syncfs(file);
  const int reason = errno;
  ::close(file);
  if (result != 0 && reason != ENOSYS) failed(folder, std::strerror(reason));
}

// The new folder while it grows, gone unless it gets its name.
class Growing {
 public:
  explicit Growing(const std::string& out)
      : out_(fs::absolute(out).lexically_normal()),
        path_((out_.has_filename() ? out_ : out_.parent_path()).string() + ".part-" +
              std::to_string(::getpid())) {
    std::error_code error;
    fs::create_directories(path_, error);
    if (error) failed(path_, error.message());
  }
  ~Growing() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Growing(const Growing&) = delete;
  Growing& operator=(const Growing&) = delete;

  const fs::path& path() const { return path_; }
  void finish() {
    sync_all(path_);
    std::error_code error;
    const fs::path out = out_.has_filename() ? out_ : out_.parent_path();
    fs::rename(path_, out, error);  // over an empty folder too
    if (error) failed(out, error.message());
  }

 private:
  fs::path out_, path_;
};

void require_space(const std::vector<Order>& orders, const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (const Order& order : orders) {
    const uint64_t size = fs::file_size(order.from, error);
    if (!error) bytes += size;
  }
  const fs::space_info space = fs::space(folder, error);
  if (!error && bytes > space.available)
    file_error(folder.string() + ": copies take " + readable_bytes(bytes) + ", and " +
               readable_bytes(space.available) + " are free; make room, or --link them");
}

void make(const Order& order, const fs::path& folder, bool link) {
  const fs::path to = folder / order.to;
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (!error && link)
    fs::create_symlink(order.from, to, error);
  else if (!error)
    fs::copy_file(order.from, to, error);
  if (error)
    file_error(order.from.string() + ": can't be " + (link ? "linked" : "copied") + " to " +
               to.string() + ": " + error.message());
}

Json counts_json(const std::vector<Part>& parts, const std::string& out) {
  Json json = Json::object();
  for (const Part& part : parts) {
    Json classes = Json::object();
    const std::vector<int64_t> counts = part.dataset.class_counts();
    for (size_t i = 0; i < counts.size(); i++) classes[part.dataset.classes[i]] = counts[i];
    json[part.name] = {{"folder", out + "/" + part.name},
                       {"pictures", std::ssize(part.dataset.samples)},
                       {"scenes", data::describe_scenes(part.dataset)},
                       {"classes", classes}};
  }
  return json;
}

Json summary_json(const Options& options, const std::vector<Part>& parts, uint64_t seed) {
  return {{"source", fs::absolute(options.folder).lexically_normal().string()},
          {"out", options.out},
          {"scene_rule", options.scenes},
          {"test", options.test},
          {"validation", options.validation},
          {"seed", seed},
          {"files", options.link ? "links" : "copies"},
          {"fulmar", version()},
          {"parts", counts_json(parts, options.out)}};
}

// The summary, and every picture with its scene.
std::string manifest(Json summary, const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    Json pictures = Json::object();
    for (const data::Sample& sample : part.dataset.samples) pictures[sample.name] = sample.scene;
    summary["parts"][part.name]["scene_of_picture"] = std::move(pictures);
  }
  return summary.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string counts_table(const std::vector<Part>& parts, const std::string& out) {
  using Align = Table::Align;
  Table table({{"folder", Align::left}, {"class", Align::left}, {"pictures", Align::right}});
  for (const Part& part : parts) {
    const std::vector<int64_t> counts = part.dataset.class_counts();
    for (size_t i = 0; i < counts.size(); i++)
      table.add({i == 0 ? out + "/" + part.name : "", part.dataset.classes[i],
                 with_separators(counts[i])});
  }
  return table.to_string();
}

int run(const Options& options, const SharedOptions& shared) {
  if (options.test == 0)
    usage_error("which share is to be held out? fulmar split DIR OUT --test 0.2");
  require_place(options);
  CommandContext command(shared);
  const std::vector<Part> parts = parts_of(options, shared.seed);
  const std::vector<Order> orders = orders_of(parts);
  {
    Growing growing(options.out);
    if (!options.link) require_space(orders, growing.path());
    Progress progress(std::ssize(orders), "files");
    int64_t done = 0;
    for (const Order& order : orders) {
      stop_if_interrupted();
      make(order, growing.path(), options.link);
      progress.update(++done);
    }
    write_file((growing.path() / "split.json").string(),
               manifest(summary_json(options, parts, shared.seed), parts));
    growing.finish();
  }
  if (shared.json) {
    print_pretty(summary_json(options, parts, shared.seed));
    return exit_ok;
  }
  std::string text = counts_table(parts, options.out) + "\n";
  for (const Part& part : parts)
    text += part.name + ": " + data::describe_scenes(part.dataset) + "\n";
  print(text);
  return exit_ok;
}

}  // namespace

void add_split(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command = add_command(
      cli, "split", "Make a new folder of a dataset with a part of it held out to test on",
      [options, &cli] { return run(*options, cli.shared); });
  command.add_option("DIR", options->folder, "Folder with CLASS/*, or train/CLASS/*")->required();
  command
      .add_option("OUT", options->out,
                  "New folder: train/CLASS/*, test/CLASS/*, and split.json that tells which scene\n"
                  "went where; DIR stays as it is")
      ->required();
  add_number(command, "--test", options->test, 0, 0.9, "Share of the pictures to test on");
  add_number(command, "--validation", options->validation, 0, 0.9,
             "Share of the others to validate on, as val/ (default 0: none)");
  add_scenes(command, options->scenes);
  add_bands(command, options->bands, "(default: a file is a sample)");
  command.add_flag(
      "--link", options->link,
      "Symbolic links to DIR's files instead of copies: takes no room, and breaks when\n"
      "DIR moves");
}

}  // namespace fulmar::tools
