#include "tools/exchange/import_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string_view>

#include "kernels/error.h"
#include "model/program.h"
#include "model/resnet.h"
#include "model/tasks/classification.h"
#include "tools/exchange/torch_names.h"
#include "tools/keras/class_choice.h"

namespace fulmar::exchange {
namespace {

constexpr const char* first_key = "conv1.weight";
constexpr const char* last_key = "fc.weight";
// What training programs put before the names of a network's weights.
constexpr std::array wrappers{"module.",  "_orig_mod.", "backbone.", "model.",        "encoder_q.",
                              "encoder.", "student.",   "teacher.",  "base_encoder.", "net."};

// The file's tensors by torchvision's keys.
struct Named {
  std::map<std::string, const FileTensor*> tensors;
  std::map<std::string, std::string> written;  // the file's own key of each
};

Named named(const WeightFile& file, std::vector<std::string>& notes) {
  Named all;
  bool renamed = false;
  for (const auto& [key, tensor] : file.tensors()) {
    const std::string known = torchvision_key(key);
    renamed = renamed || known != key;
    all.tensors[known] = &tensor;
    all.written[known] = key;
  }
  if (renamed) notes.emplace_back("its names are Hugging Face's; they are torchvision's here");
  return all;
}

// The prefix before the first weight's name, of known wrappers alone; "": none.
std::string wrapper_in(const Named& all) {
  std::string best;
  for (const auto& entry : all.tensors) {
    std::string rest = entry.first, prefix;
    for (bool found = true; found && rest != first_key;) {
      found = false;
      for (const std::string_view wrapper : wrappers)
        if (rest.rfind(wrapper, 0) == 0) {
          prefix += wrapper;
          rest.erase(0, wrapper.size());
          found = true;
          break;
        }
      if (found) rest = torchvision_key(rest);
    }
    if (rest == first_key && (best.empty() || prefix.size() < best.size())) best = prefix;
  }
  return best;
}

Named unwrapped(const Named& all, std::vector<std::string>& notes) {
  if (all.tensors.count(first_key) > 0) return all;
  const std::string prefix = wrapper_in(all);
  if (prefix.empty()) return all;
  notes.push_back("'" + prefix + "' is taken off its names");
  Named inner;
  for (const auto& [key, tensor] : all.tensors) {
    const std::string own =
        key.rfind(prefix, 0) == 0 ? torchvision_key(key.substr(prefix.size())) : key;
    inner.tensors[own] = tensor;
    inner.written[own] = all.written.at(key);
  }
  return inner;
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : ",") + std::to_string(extent);
  return "[" + text + "]";
}

// An extent of a weight that says what the network is like; `otherwise` where it isn't there.
int64_t extent_of(const Named& all, const char* key, size_t axis, int64_t otherwise) {
  const auto found = all.tensors.find(key);
  if (found == all.tensors.end() || found->second->shape.size() <= axis) return otherwise;
  return found->second->shape[axis];
}

// Keys that an error or a note lists.
class List {
 public:
  void add(const std::string& item) {
    if (count_++ < most) text_ += (text_.empty() ? "" : ", ") + item;
  }
  bool empty() const { return count_ == 0; }
  // "3 missing: a, b, c"
  std::string text(const std::string& what) const {
    return std::to_string(count_) + " " + what + ": " + text_ + (count_ > most ? ", ..." : "");
  }

 private:
  static constexpr size_t most = 12;
  size_t count_ = 0;
  std::string text_;
};

// The weights of a convolution with one input channel that gives what it gave for equal ones.
std::vector<double> summed_bands(const std::vector<double>& values, const FileTensor& tensor) {
  const auto bands = static_cast<size_t>(tensor.shape[1]);
  const auto taps = static_cast<size_t>(tensor.shape[2] * tensor.shape[3]);
  std::vector<double> sums(values.size() / bands);
  for (size_t i = 0; i < values.size(); i++)
    sums[i / (bands * taps) * taps + i % taps] += values[i];
  return sums;
}

class Import {
 public:
  Import(const WeightFile& file, const Named& named, const ImportOptions& options, Imported& result)
      : file_(file), named_(named), options_(options), result_(result) {}

  Model run(Device& device) {
    describe();
    Model model = model::new_model(result_.info, device, options_.seed);
    place(model);
    return model;
  }

 private:
  // Network, pictures and task, as the file's first and last weight have them.
  void describe() {
    model::ResnetOptions resnet = model::resnet_named(options_.network);
    if (!options_.widths.empty()) resnet.widths = options_.widths;
    const int64_t stored = extent_of(named_, first_key, 1, 3);
    resnet.channels = options_.bands.value_or(stored);
    sums_bands_ = resnet.channels == 1 && stored > 1;
    resnet.classes = extent_of(named_, last_key, 0, 0);
    if (resnet.classes == 0 && !options_.classes.empty()) {
      if (!options_.partial)
        usage_error(
            "--classes: the file has no last layer; leave it out, or say --partial for "
            "one that isn't trained");
      resnet.classes = static_cast<int64_t>(options_.classes.size());
    }
    Network network = model::resnet(resnet);
    const Preprocess pictures = preprocess(resnet.channels);
    if (resnet.classes < 2) {
      result_.info.network = std::move(network);
      result_.info.preprocess[result_.info.network.inputs().at(0)] = pictures;
      result_.notes.emplace_back(
          "the file has no last layer for classes: the model gives features; 'fulmar train "
          "--init' adds one");
      return;
    }
    const std::vector<std::string> classes =
        keras::class_names(options_.classes, resnet.classes, result_.notes);
    result_.info = model::classifier_of(
        std::move(network), pictures,
        model::Classification(classes, keras::positive_of(options_.positive, classes),
                              options_.threshold));
  }

  Preprocess preprocess(int64_t bands) const {
    if (bands < 1 || bands > WarpOptions::max_bands)
      usage_error("pictures have 1 to " + std::to_string(WarpOptions::max_bands) +
                  " bands; the network has " + std::to_string(bands));
    Preprocess pictures = Preprocess::of_pictures(options_.size, options_.crop, bands);
    pictures.resize = options_.resize;
    const auto n = static_cast<size_t>(bands);
    const auto of_band = [&](const std::vector<double>& values, size_t band, const char* option) {
      if (values.size() != 1 && values.size() != n)
        usage_error(std::string(option) + " takes one number, or one for each of the " +
                    std::to_string(bands) + " bands");
      return values.size() == 1 ? values[0] : values[band];
    };
    for (size_t band = 0; band < n; band++) {
      const double mean = of_band(options_.mean, band, "--mean"),
                   deviation = of_band(options_.deviation, band, "--std");
      if (!(deviation > 0)) usage_error("--std takes numbers above 0");
      pictures.scale[band] /= deviation;
      pictures.offset[band] = -mean / deviation;
    }
    return pictures;
  }

  void place(Model& model) {
    List missing, misshapen, unexpected;
    std::set<std::string> taken;
    for (const TorchWeight& weight : torch_weights(result_.info.network, model)) {
      taken.insert(weight.key);
      if (weight.name.empty()) continue;  // a count of batches, which nothing here needs
      const auto found = named_.tensors.find(weight.key);
      if (found == named_.tensors.end()) {
        missing.add(weight.key);
        continue;
      }
      const FileTensor& tensor = *found->second;
      std::vector<int64_t> expected = weight.shape;
      const bool sums = sums_bands_ && weight.key == first_key;
      if (sums) expected[1] = extent_of(named_, first_key, 1, 1);
      if (tensor.shape != expected) {
        misshapen.add(weight.key + " " + text_of(tensor.shape) + " instead of " +
                      text_of(expected));
        continue;
      }
      std::vector<double> values = file_.values(tensor);
      if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
        file_error("its weight " + weight.key + " holds NaN or infinity");
      if (sums) values = summed_bands(values, tensor);
      model.write(weight.name, from_torch(weight, values));
    }
    for (const auto& entry : named_.tensors)
      if (taken.count(entry.first) == 0) unexpected.add(shown(named_.written.at(entry.first)));
    report(missing, misshapen, unexpected);
    if (sums_bands_)
      result_.notes.emplace_back(
          "the first convolution's weights are summed over its bands: the network takes one band, "
          "which the file's took repeated");
  }

  void report(const List& missing, const List& misshapen, const List& unexpected) {
    std::string faults;
    const auto add = [&](const List& list, const char* what) {
      if (!list.empty()) faults += (faults.empty() ? "" : "; ") + list.text(what);
    };
    add(missing, "missing");
    add(misshapen, "of another shape");
    add(unexpected, "that the network has no place for");
    if (faults.empty()) return;
    if (!options_.partial)
      file_error("its weights aren't those of " + options_.network + ": " + faults +
                 " (--partial takes what fits)");
    result_.notes.push_back("not all weights are the file's: " + faults);
  }

  const WeightFile& file_;
  const Named& named_;
  const ImportOptions& options_;
  Imported& result_;
  bool sums_bands_ = false;
};

}  // namespace

Imported import_weights(const std::string& from, const std::string& to,
                        const ImportOptions& options, Device& device) {
  keras::require_place(from, to, "file of weights");
  const WeightFile file = WeightFile::read(from);
  Imported result;
  result.format = file.format();
  result.notes = file.notes();
  keras::save_imported(result, from, to, [&] {
    const Named tensors = unwrapped(named(file, result.notes), result.notes);
    return keras::MadeModel{Import(file, tensors, options, result).run(device),
                            file.format() + " weights"};
  });
  return result;
}

}  // namespace fulmar::exchange
