#include "tools/run/scene_table.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "kernels/error.h"
#include "tools/run/results.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* measured = "nodata";
constexpr const char* derived = "hidden";
constexpr const char* derived_from = "visible";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// The folder that holds `name`: this one or the one above it.
std::optional<fs::path> folder_with(const std::string& name, const std::string& folder) {
  const fs::path place = fs::absolute(folder).lexically_normal();
  const fs::path self = place.filename().empty() ? place.parent_path() : place;
  for (const fs::path& each : {self, self.parent_path()})
    if (is_there(each / name)) return each;
  return std::nullopt;
}

template <class T>
int64_t count_nodata(const data::Image& image) {
  const T* values = reinterpret_cast<const T*>(image.data.data());
  const double nothing = image.nodata.value_or(0);
  int64_t count = 0;
  for (int64_t pixel = 0; pixel < image.pixels(); pixel++) {
    const T* bands = values + pixel * image.bands;
    count += std::all_of(bands, bands + image.bands, [&](T value) {
      if constexpr (std::is_floating_point_v<T>) return std::isnan(value);
      return static_cast<double>(value) == nothing;
    });
  }
  return count;
}

std::vector<double> measure_nodata(const data::Pictures& pictures, Context& context,
                                   Observer& observer) {
  std::vector<double> shares(static_cast<size_t>(pictures.count()));
  const Advance advance = observer.on_job("measuring what is black", pictures.count(), "pictures");
  std::atomic<int64_t> done{0};
  context.pool().run(pictures.count(), [&](int64_t i, int worker) {
    stop_if_cancelled(context);
    shares[static_cast<size_t>(i)] = nodata_share(data::picture_of(pictures, i));
    const int64_t now = ++done;
    if (worker == 0) advance(now);
  });
  return shares;
}

std::string meaning_of(const std::string& column, bool generated, bool in_table) {
  if (column == measured && !in_table)
    return "share of the scene without data (beyond the swath's edge), measured in the pictures";
  if (column == derived && !in_table)
    return generated ? "share of the low's disc that the swath's edge, land, ice or the crop "
                       "hides; of scenes without one: of the place where it would be"
                     : "1 - visible";
  if (!generated) return "column '" + column + "' of the table";
  if (column == "ice") return "share of the sea that is covered by ice";
  if (column == "land") return "share of the scene that is land, within the swath or beyond it";
  return "column '" + column + "' of index.csv";
}

// Names by which a table may call a picture.
struct Names {
  std::string path, stem_path;  // within the dataset's folder, with and without the extension
  std::string file, stem;

  explicit Names(const std::string& name) : path(name), file(fs::path(name).filename().string()) {
    // A sample of several files has a name without an extension.
    stem_path = fs::path(name).replace_extension().string();
    stem = fs::path(file).stem().string();
  }
};

// The column of names: one of the usual words, else the first.
size_t key_column(const CsvTable& table) {
  for (const char* usual : {"file", "picture", "scene", "name"})
    if (const auto found = table.find(usual)) return *found;
  return 0;
}

}  // namespace

double nodata_share(const data::Image& image) {
  int64_t count = 0;
  if (image.type == DType::u8)
    count = count_nodata<uint8_t>(image);
  else if (image.type == DType::u16)
    count = count_nodata<uint16_t>(image);
  else if (image.type == DType::f32)
    count = count_nodata<float>(image);
  else
    usage_error(std::string("no-data pixels of a picture of type ") + name_of(image.type));
  return static_cast<double>(count) / static_cast<double>(std::max<int64_t>(1, image.pixels()));
}

SceneTable::SceneTable(const std::string& path, const std::string& folder,
                       const data::Dataset& dataset)
    : given_(!path.empty()) {
  for (const std::string& place : {dataset.folder, folder}) {
    generated_ = generated_ || folder_with("synth.json", place).has_value();
    if (!path.empty() || table_) continue;
    if (const auto found = folder_with("index.csv", place))
      table_ = read_csv_table((*found / "index.csv").string());
  }
  if (!path.empty()) table_ = read_csv_table(path);
}

const std::vector<std::string>& SceneTable::usual() {
  static const std::vector<std::string> names{measured, "cut", "ice", "land", derived};
  return names;
}

bool SceneTable::has(const std::string& column) const {
  return column == measured ||
         (table_ && (table_->find(column) || (column == derived && table_->find(derived_from))));
}

std::string SceneTable::known_columns() const {
  std::string names = measured;
  if (!table_) return names + ", which is measured; --table FILE gives others";
  if (has(derived)) names += std::string(", ") + derived;
  for (size_t c = 0; c < table_->columns.size(); c++)
    if (c != key_column(*table_) && !table_->rows.empty() && table_->is_number(0, c))
      names += ", " + table_->columns[c];
  return names;
}

std::vector<size_t> SceneTable::rows_of(const data::Dataset& dataset) const {
  const CsvTable& table = *table_;
  const size_t key = key_column(table);
  const std::optional<size_t> label = table.find("class");
  std::map<std::string, std::vector<size_t>> rows;
  for (size_t r = 0; r < table.rows.size(); r++) {
    const std::string& name = table.rows[r][key];
    rows[name].push_back(r);
    // A scene's twin without its vortex has the same name in another class.
    if (label) rows[table.rows[r][*label] + "/" + name].push_back(r);
  }
  std::vector<size_t> found;
  for (const data::Sample& sample : dataset.samples) {
    const Names names(sample.name);
    const std::string& label_name = dataset.classes[static_cast<size_t>(sample.label)];
    const std::vector<size_t>* row = nullptr;
    for (const std::string& name :
         {names.path, names.stem_path, label_name + "/" + names.stem, names.file, names.stem}) {
      const auto at = rows.find(name);
      if (!row && at != rows.end()) row = &at->second;
    }
    if (!row)
      file_error(table.path + ": no row for the picture " + sample.name + " (the column '" +
                 table.columns[key] + "' names files or their stems); add one");
    const auto differs = std::find_if(row->begin(), row->end(), [&](size_t other) {
      return table.rows[other] != table.rows[row->front()];
    });
    if (differs != row->end())
      file_error(table.path + ": lines " + std::to_string(table.lines[row->front()]) + " and " +
                 std::to_string(table.lines[*differs]) + " are both for the picture " +
                 sample.name + "; name pictures with their class, as in " + names.path);
    found.push_back(row->front());
  }
  return found;
}

std::vector<SceneColumn> SceneTable::columns(const std::vector<std::string>& asked,
                                             const data::Dataset& dataset,
                                             const data::Pictures& pictures, Context& context,
                                             Observer& observer) const {
  std::vector<std::string> names = asked;
  if (names.empty())
    std::copy_if(usual().begin(), usual().end(), std::back_inserter(names),
                 [&](const std::string& name) { return has(name); });
  // Whoever gives a table wants its numbers.
  if (asked.empty() && given_ && names == std::vector<std::string>{measured} &&
      !table_->find(measured))
    usage_error(table_->path + ": none of the usual columns cut, ice, land and visible is in it: " +
                "choose with --columns; there are " + known_columns());
  for (const std::string& name : names)
    if (!has(name))
      usage_error("--columns: there is no column '" + name + "'" +
                  (table_ ? " in " + table_->path : "") + "; there are " + known_columns());
  std::vector<size_t> rows;
  std::vector<SceneColumn> columns;
  for (const std::string& name : names) {
    const bool in_table = table_ && table_->find(name);
    SceneColumn column{name, meaning_of(name, generated_, in_table)};
    if (name == measured && !in_table) {
      column.values = measure_nodata(pictures, context, observer);
    } else {
      if (rows.empty()) rows = rows_of(dataset);
      const size_t place = *table_->find(in_table ? name : derived_from);
      for (const size_t row : rows) {
        const double value = table_->number(row, place);
        column.values.push_back(in_table ? value : 1 - value);
      }
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace fulmar::tools
