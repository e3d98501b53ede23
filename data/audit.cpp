#include "data/audit.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace fulmar::data {

namespace {

using Hash = std::pair<uint64_t, uint64_t>;

// The values of a band that aren't missing.
struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  int64_t values = 0;
  double sum = 0, squares = 0;

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
    values++;
    sum += value;
    squares += value * value;
  }
  void add(const Range& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    values += other.values;
    sum += other.sum;
    squares += other.squares;
  }
  bool empty() const { return values == 0; }
  bool is_noise(DType type) const {
    const double most = type == DType::f32 ? 1e-5 * std::max(std::abs(low), std::abs(high)) : 2;
    return empty() || high - low <= most;
  }
  Audit::Band band() const {
    if (empty()) return {};
    const auto n = static_cast<double>(values);
    const double mean = sum / n;
    return {values, low, high, mean, std::sqrt(std::max(squares / n - mean * mean, 0.0))};
  }
};

// What is kept of a picture once it has been read.
struct Seen {
  bool readable = false;
  ImageHeader header;
  bool dropped_alpha = false, wholly_black = false, constant = false;
  std::vector<Range> ranges;  // by band
  Hash hash;
  double black_fraction = 0, missing_fraction = 0;
};

uint64_t mix(uint64_t x) {  // the finaliser of splitmix64: every bit depends on every other
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

Hash hash_of(const Image& image) {
  Hash hash{1, 2};
  const auto add = [&](uint64_t word) {
    hash.first = mix(hash.first ^ word);
    hash.second = mix(hash.second + word * 0x9E3779B97F4A7C15u);
  };
  for (const int64_t value : {image.height, image.width, image.bands})
    add(static_cast<uint64_t>(value));
  add(static_cast<uint64_t>(image.type));
  for (size_t at = 0; at < image.data.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, image.data.data() + at, std::min<size_t>(8, image.data.size() - at));
    add(word);
  }
  return hash;
}

template <class T>
bool is_grey(const Image& image) {
  const T* value = reinterpret_cast<const T*>(image.data.data());
  for (int64_t i = 0; i < image.pixels(); i++)
    if (value[3 * i] != value[3 * i + 1] || value[3 * i] != value[3 * i + 2]) return false;
  return true;
}

// RGB whose bands are the same is grey; its first band stands for it.
template <class T>
Image as_grey(const Image& image) {
  Image grey = image;
  grey.bands = 1;
  grey.data.assign(static_cast<size_t>(grey.bytes()), 0);
  const T* from = reinterpret_cast<const T*>(image.data.data());
  T* to = reinterpret_cast<T*>(grey.data.data());
  for (int64_t i = 0; i < grey.pixels(); i++) to[i] = from[3 * i];
  return grey;
}

template <class T>
Seen look_at(const Image& image) {
  std::vector<Range> ranges(static_cast<size_t>(image.bands));
  const T* value = reinterpret_cast<const T*>(image.data.data());
  int64_t black = 0, missing = 0;
  for (int64_t i = 0; i < image.pixels(); i++) {
    bool zero = true, lacks = false;
    for (int64_t band = 0; band < image.bands; band++) {
      const auto v = static_cast<double>(value[i * image.bands + band]);
      zero &= v == 0;
      if (!std::isfinite(v) || v == image.nodata) {
        lacks = true;
        continue;
      }
      ranges[static_cast<size_t>(band)].add(v);
    }
    missing += lacks;
    black += zero && !lacks;
  }
  Seen seen;
  seen.readable = true;
  seen.header = image;
  seen.dropped_alpha = image.dropped_alpha;
  seen.hash = hash_of(image.bands == 3 && is_grey<T>(image) ? as_grey<T>(image) : image);
  seen.black_fraction = static_cast<double>(black) / static_cast<double>(image.pixels());
  seen.missing_fraction = static_cast<double>(missing) / static_cast<double>(image.pixels());
  seen.wholly_black = black + missing == image.pixels();
  seen.constant = std::all_of(ranges.begin(), ranges.end(),
                              [&](const Range& band) { return band.is_noise(seen.header.type); });
  seen.ranges = std::move(ranges);
  return seen;
}

Seen look_at(const Image& image) {
  switch (image.type) {
    case DType::u16:
      return look_at<uint16_t>(image);
    case DType::f32:
      return look_at<float>(image);
    default:
      return look_at<uint8_t>(image);
  }
}

struct Entry {
  const Sample* sample;
  size_t part;     // of Folder::parts
  int64_t number;  // within the part
};

void find_equal(const std::vector<Entry>& entries, const std::vector<Seen>& seen, Audit& audit) {
  std::map<Hash, std::vector<size_t>> groups;
  for (size_t i = 0; i < entries.size(); i++)
    if (seen[i].readable) groups[seen[i].hash].push_back(i);
  std::vector<std::vector<size_t>> equal;
  for (auto& [hash, group] : groups)
    if (group.size() > 1) equal.push_back(std::move(group));
  std::sort(equal.begin(), equal.end());
  for (const std::vector<size_t>& group : equal) {
    std::set<int32_t> labels;
    std::set<size_t> parts;
    Audit::Paths paths;
    for (size_t i : group) {
      labels.insert(entries[i].sample->label);
      parts.insert(entries[i].part);
      paths.push_back(entries[i].sample->path);
    }
    if (labels.size() > 1) audit.two_labels.push_back(paths);
    if (parts.size() > 1) audit.in_both_parts.push_back(paths);
    if (labels.size() == 1 && parts.size() == 1) audit.repeated.push_back(paths);
  }
}

void find_shared_scenes(const std::vector<Entry>& entries, Audit& audit) {
  std::map<std::string, Audit::SharedScene> scenes;
  for (const Entry& entry : entries) {
    // A picture that is a scene of its own has its name for one, which may be in several parts.
    if (entry.sample->scene == entry.sample->name) continue;
    Audit::SharedScene& scene = scenes[entry.sample->scene];
    scene.scene = entry.sample->scene;
    scene.parts.resize(audit.parts.size());
    scene.parts[entry.part].push_back(entry.sample->path);
  }
  for (auto& [name, scene] : scenes)
    if (std::count_if(scene.parts.begin(), scene.parts.end(),
                      [](const Audit::Paths& paths) { return !paths.empty(); }) > 1)
      audit.shared_scenes.push_back(std::move(scene));
}

void count_scenes(const std::vector<Entry>& entries, Audit& audit) {
  std::map<std::pair<size_t, int32_t>, std::set<std::string>> scenes;
  for (const Entry& entry : entries)
    scenes[{entry.part, entry.sample->label}].insert(entry.sample->scene);
  for (const auto& [key, names] : scenes)
    audit.parts[key.first].classes[static_cast<size_t>(key.second)].scenes = std::ssize(names);
}

void list_constant(const std::vector<Entry>& entries, const std::vector<Seen>& seen, Audit& audit) {
  Range range;
  for (size_t i = 0; i < entries.size(); i++) {
    if (!seen[i].readable || !seen[i].constant) continue;
    audit.constant.push_back(entries[i].sample->path);
    for (const Range& band : seen[i].ranges) range.add(band);
  }
  if (range.empty()) return;
  audit.constant_low = range.low;
  audit.constant_high = range.high;
}

void gather_values(const std::vector<Seen>& seen, Audit& audit) {
  std::map<std::pair<DType, int64_t>, std::vector<Range>> ranges;
  for (const Seen& one : seen) {
    if (!one.readable) continue;
    std::vector<Range>& all = ranges[{one.header.type, one.header.bands}];
    all.resize(one.ranges.size());
    for (size_t band = 0; band < all.size(); band++) all[band].add(one.ranges[band]);
  }
  for (const auto& [key, all] : ranges) {
    Audit::Values values{key.first, {}};
    for (const Range& range : all) values.bands.push_back(range.band());
    audit.values.push_back(std::move(values));
  }
}

void count_formats(const std::vector<Seen>& seen, Audit& audit) {
  std::map<std::tuple<DType, int64_t, int64_t, int64_t>, int64_t> counts;
  std::set<DType> types;
  const ImageHeader* first = nullptr;
  for (const Seen& one : seen) {
    if (!one.readable) continue;
    counts[{one.header.type, one.header.bands, one.header.height, one.header.width}]++;
    types.insert(one.header.type);
    if (!first) first = &one.header;
    audit.mixed_bands |= !can_have_channels(one.header, first->bands);
    audit.mixed_nodata |= one.header.nodata.value_or(0) != first->nodata.value_or(0);
  }
  for (const auto& [key, pictures] : counts)
    audit.formats.push_back(
        {{std::get<2>(key), std::get<3>(key), std::get<1>(key), std::get<0>(key)}, pictures});
  std::stable_sort(
      audit.formats.begin(), audit.formats.end(),
      [](const Audit::Format& a, const Audit::Format& b) { return a.pictures > b.pictures; });
  audit.mixed_types = types.size() > 1;
}

}  // namespace

bool Audit::has_faults() const {
  return !structure.empty() || !unreadable.empty() || !two_labels.empty() ||
         !in_both_parts.empty() || !shared_scenes.empty() || mixed_types || mixed_bands ||
         mixed_nodata;
}

Audit audit_folder(const Folder& folder, const ImageLimits& limits, ThreadPool& pool,
                   const Progress& progress) {
  const auto read = [&](size_t part, int64_t sample) {
    const Dataset& dataset = *folder.parts()[part];
    return read_sample(dataset.samples[static_cast<size_t>(sample)].path, dataset.bands, limits);
  };
  return audit_pictures(folder, read, pool, progress);
}

Audit audit_pictures(const Folder& folder, const ReadPicture& read, ThreadPool& pool,
                     const Progress& progress) {
  Audit audit;
  audit.left_out = folder;
  audit.structure = folder.faults;
  audit.notes = folder.notes;
  audit.scenes = describe_scenes(folder.train);
  std::vector<Entry> entries;
  for (const Dataset* dataset : folder.parts()) {
    const char* name = dataset == &folder.train                              ? "train"
                       : folder.validation && dataset == &*folder.validation ? "validation"
                                                                             : "test";
    Audit::Part part{name, dataset->folder, {}};
    for (const std::string& name : dataset->classes) part.classes.push_back({name});
    int64_t number = 0;
    for (const Sample& sample : dataset->samples)
      entries.push_back({&sample, audit.parts.size(), number++});
    audit.parts.push_back(std::move(part));
  }

  std::vector<Seen> seen(entries.size());
  const PictureErrors errors = for_each_picture(
      pool, static_cast<int64_t>(entries.size()),
      [&](int64_t picture) {
        const auto i = static_cast<size_t>(picture);
        seen[i] = look_at(read(entries[i].part, entries[i].number));
      },
      progress);
  for (const auto& [picture, reason] : errors)
    audit.unreadable.push_back({entries[static_cast<size_t>(picture)].sample->path, reason});

  for (size_t i = 0; i < entries.size(); i++) {
    Audit::Class& one =
        audit.parts[entries[i].part].classes[static_cast<size_t>(entries[i].sample->label)];
    one.pictures++;
    if (!seen[i].readable) continue;
    audit.dropped_alpha += seen[i].dropped_alpha;
    for (const std::string& remark : seen[i].header.remarks)
      audit.remarks[remark].push_back(entries[i].sample->path);
    one.black_fraction += seen[i].black_fraction;
    one.missing_fraction += seen[i].missing_fraction;
    one.wholly_black += seen[i].wholly_black;
    one.constant += seen[i].constant;
  }
  std::map<std::pair<size_t, int32_t>, int64_t> readable;
  for (size_t i = 0; i < entries.size(); i++)
    readable[{entries[i].part, entries[i].sample->label}] += seen[i].readable;
  for (const auto& [key, count] : readable)
    if (count > 0) {
      Audit::Class& one = audit.parts[key.first].classes[static_cast<size_t>(key.second)];
      one.black_fraction /= static_cast<double>(count);
      one.missing_fraction /= static_cast<double>(count);
    }

  find_equal(entries, seen, audit);
  find_shared_scenes(entries, audit);
  count_scenes(entries, audit);
  list_constant(entries, seen, audit);
  count_formats(seen, audit);
  gather_values(seen, audit);
  return audit;
}

}  // namespace fulmar::data
