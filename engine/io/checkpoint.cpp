#include "engine/io/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/io/safetensors_header.h"
#include "engine/optimizer.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view state_prefix = "training/";

// A parameter's part of an optimiser's buffer: "adamw/moment1/PARAMETER" of "/adamw/moment1".
std::string part_name(const std::string& buffer, const std::string& parameter) {
  return buffer.substr(1) + "/" + parameter;
}

std::vector<int64_t> extents(const Shape& shape) {
  std::vector<int64_t> list;
  for (int axis = 0; axis < shape.rank(); axis++) list.push_back(shape[axis]);
  return list;
}

// Tensors to be written.
class Tensors {
 public:
  explicit Tensors(Model& model) : model_(model) {}

  // A parameter or a statistic of the model, or its buffer of that name in parts.
  void add(const std::string& name, const Shape& shape) {
    list_.push_back({name, stored_type(), extents(shape), copy(name)});
  }
  void add_parts(const std::string& buffer) {
    const std::byte* flat = copy(buffer);
    for (const Model::Parameter& p : model_.parameters())
      list_.push_back({part_name(buffer, p.name), stored_type(), extents(p.shape),
                       flat + static_cast<size_t>(p.begin) * size_of(model_.device().real())});
  }
  // An array of the training state, in the caller's memory.
  template <class T>
  void add(const std::string& name, StoredType type, const std::vector<T>& values) {
    if (values.empty()) return;
    list_.push_back({std::string(state_prefix) + name,
                     type,
                     {static_cast<int64_t>(values.size())},
                     values.data()});
  }
  const std::vector<StoredTensor>& list() const { return list_; }

 private:
  StoredType stored_type() const {
    return model_.device().real() == DType::f64 ? StoredType::f64 : StoredType::f32;
  }
  const std::byte* copy(const std::string& name) {
    return memory_.emplace_back(model_.read_bytes(name)).data();
  }

  Model& model_;
  std::deque<std::vector<std::byte>> memory_;
  std::vector<StoredTensor> list_;
};

// Numbers of one type as numbers of another.
template <class From, class To>
void convert(std::span<const std::byte> from, std::vector<std::byte>& to) {
  const size_t count = from.size() / sizeof(From);
  to.resize(count * sizeof(To));
  for (size_t i = 0; i < count; i++) {
    From value;
    std::memcpy(&value, from.data() + i * sizeof(From), sizeof(From));
    const To other = static_cast<To>(value);
    std::memcpy(to.data() + i * sizeof(To), &other, sizeof(To));
  }
}

// Stored floats as a device's real type: as they are, or converted into memory of the caller's.
std::span<const std::byte> as_real(std::span<const std::byte> floats, StoredType stored, DType real,
                                   std::vector<std::byte>& converted) {
  const bool wide = stored == StoredType::f64;
  if (wide == (real == DType::f64)) return floats;
  if (wide)
    convert<double, float>(floats, converted);
  else
    convert<float, double>(floats, converted);
  return converted;
}

std::span<const std::byte> bytes_of(const StoredTensor& tensor) {
  return {static_cast<const std::byte*>(tensor.data), tensor.bytes()};
}

template <class T>
std::vector<T> array_of(const StoredTensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.elements()));
  std::memcpy(values.data(), tensor.data, tensor.bytes());
  return values;
}

TrainingState state_of(const Safetensors& file) {
  TrainingState state;
  if (!file.metadata().count("training_state")) return state;
  state.json = file.text("training_state");
  for (const StoredTensor& tensor : file.tensors()) {
    if (tensor.name.compare(0, state_prefix.size(), state_prefix) != 0) continue;
    const std::string name = tensor.name.substr(state_prefix.size());
    if (tensor.type == StoredType::f32) state.floats[name] = array_of<float>(tensor);
    if (tensor.type == StoredType::f64) state.doubles[name] = array_of<double>(tensor);
    if (tensor.type == StoredType::i32) state.integers[name] = array_of<int32_t>(tensor);
  }
  return state;
}

bool is_float(const StoredTensor& tensor) {
  return tensor.type == StoredType::f32 || tensor.type == StoredType::f64;
}

// The metadata that the engine writes itself.
constexpr const char* own_entries[] = {"fulmar", "network", "preprocess", "summary",
                                       "training_state"};

bool is_own(const std::string& entry) {
  return std::find(std::begin(own_entries), std::end(own_entries), entry) != std::end(own_entries);
}

void check_model_info(const ModelInfo& info) {
  const std::vector<std::string> inputs = info.network.inputs();
  for (const auto& [name, preprocess] : info.preprocess)
    if (std::find(inputs.begin(), inputs.end(), name) == inputs.end())
      usage_error("the description of a model: it preprocesses '" + name +
                  "', which is no input of its network");
  for (const auto& [entry, text] : info.task)
    if (is_own(entry))
      usage_error("the description of a model: its task uses the name '" + entry +
                  "', which is the engine's");
}

// Of a network with one input the record itself, else an object of records, "inputs".
std::string preprocess_text(const ModelInfo& info) {
  if (info.network.inputs().size() == 1 && info.preprocess.size() == 1)
    return info.preprocess.begin()->second.to_json();
  Json inputs = Json::object();
  for (const auto& [name, preprocess] : info.preprocess)
    inputs[name] = Json::parse(preprocess.to_json());
  return Json{{"inputs", inputs}}.dump();
}

std::map<std::string, Preprocess> preprocess_of(const std::string& text, const Network& network) {
  const std::vector<std::string> inputs = network.inputs();
  const Json json = Json::parse(text, nullptr, false);
  std::map<std::string, Preprocess> all;
  if (json.is_object() && json.contains("inputs") && json["inputs"].is_object()) {
    for (const auto& [name, record] : json["inputs"].items())
      all[name] = Preprocess::from_json(record.dump());
  } else if (inputs.size() == 1) {
    all[inputs[0]] = Preprocess::from_json(text);
  } else {
    usage_error("its preprocessing is for one input, and its network has " +
                std::to_string(inputs.size()));
  }
  return all;
}

// The description in a file's metadata, without the training state.
ModelInfo info_of(const std::map<std::string, std::string>& metadata, const std::string& path) {
  if (!metadata.count("fulmar") || !metadata.count("network"))
    file_error(path +
               ": a safetensors file, but not a model written by fulmar: it describes no "
               "network; use a best.safetensors or last.safetensors of a run folder");
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      file_error("'" + path + "' has no " + shown(key) +
                 " in its metadata (use a file that has it)");
    return found->second;
  };
  try {
    ModelInfo info;
    info.network = Network::from_json(text("network"));
    info.preprocess = preprocess_of(text("preprocess"), info.network);
    for (const auto& [entry, value] : metadata)
      if (!is_own(entry)) info.task[entry] = value;
    info.summary = text("summary");
    check_model_info(info);
    return info;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::file) throw;
    file_error(path + ": not a usable model: " + error.what());
  }
}

[[noreturn]] void wrong_shape(const std::string& path, const std::string& name,
                              const Shape& shape) {
  file_error(path + ": tensor '" + name + "' does not have the shape " + shape.to_string() +
             " that its network needs");
}

}  // namespace

const Preprocess& ModelInfo::picture() const {
  const std::vector<std::string> inputs = network.inputs();
  if (inputs.size() != 1)
    usage_error("the network has " + std::to_string(inputs.size()) +
                " inputs, where one picture is expected");
  const auto found = preprocess.find(inputs[0]);
  if (found == preprocess.end())
    usage_error("the network's input '" + inputs[0] + "' takes no pictures");
  return found->second;
}

void save_checkpoint(const std::string& path, const ModelInfo& info, Model& model) {
  check_model_info(info);
  Tensors tensors(model);
  for (const Model::Parameter& p : model.parameters()) tensors.add(p.name, p.shape);
  for (const Model::Statistic& s : model.statistics()) tensors.add(s.name, s.shape);
  std::map<std::string, std::string> metadata{
      {"fulmar", "model"},
      {"network", info.network.to_json()},
      {"preprocess", preprocess_text(info)},
      {"summary", info.summary},
  };
  metadata.insert(info.task.begin(), info.task.end());
  if (!info.training_state.empty()) {
    metadata["training_state"] = info.training_state.json;
    for (const std::string& buffer : model.states()) tensors.add_parts(buffer);
    for (const auto& [name, values] : info.training_state.integers)
      tensors.add(name, StoredType::i32, values);
    for (const auto& [name, values] : info.training_state.floats)
      tensors.add(name, StoredType::f32, values);
    for (const auto& [name, values] : info.training_state.doubles)
      tensors.add(name, StoredType::f64, values);
  }
  write_safetensors(path, tensors.list(), metadata);
}

Checkpoint::Checkpoint(std::string path, std::shared_ptr<const Safetensors> file)
    : path_(std::move(path)), file_(std::move(file)) {}

const std::vector<std::string>& Checkpoint::notes() const { return file_->notes(); }

Checkpoint Checkpoint::read(const std::string& path) {
  Checkpoint c(path, std::make_shared<const Safetensors>(Safetensors::read(path)));
  c.info_ = info_of(c.file_->metadata(), path);
  c.info_.training_state = state_of(*c.file_);
  return c;
}

void Checkpoint::restore(Model& model) const {
  const DType real = model.device().real();
  std::vector<std::byte> converted;
  const auto stored = [&](const std::string& name, const Shape& shape) {
    const StoredTensor& tensor = file_->at(name);
    if (tensor.shape != extents(shape) || !is_float(tensor)) wrong_shape(path_, name, shape);
    return as_real(bytes_of(tensor), tensor.type, real, converted);
  };
  const auto restore = [&](const auto& tensor) {
    model.write_bytes(tensor.name, stored(tensor.name, tensor.shape));
  };
  for (const Model::Parameter& p : model.parameters()) restore(p);
  for (const Model::Statistic& s : model.statistics()) restore(s);
  if (info_.training_state.empty()) return;
  // Buffers that the model has must be in the file; others are made where the file has them.
  for (const std::string& buffer : all_state_names()) {
    const auto& parameters = model.parameters();
    const bool any = std::any_of(
        parameters.begin(), parameters.end(),
        [&](const Model::Parameter& p) { return file_->find(part_name(buffer, p.name)); });
    if (!any && !model.has(buffer)) continue;
    std::vector<std::byte> flat = model.read_bytes(buffer);
    for (const Model::Parameter& p : parameters) {
      const auto part = stored(part_name(buffer, p.name), p.shape);
      const auto begin = p.begin * static_cast<int64_t>(size_of(real));
      std::copy(part.begin(), part.end(), flat.begin() + begin);
    }
    model.write_bytes(buffer, flat);
  }
}

std::vector<std::string> Checkpoint::initialize(Model& model) const {
  std::vector<std::string> missing;
  std::vector<std::byte> converted;
  const auto copy = [&](const std::string& name, const Shape& shape) {
    const StoredTensor* tensor = file_->find(name);
    if (!tensor || tensor->shape != extents(shape) || !is_float(*tensor))
      missing.push_back(name);
    else
      model.write_bytes(name,
                        as_real(bytes_of(*tensor), tensor->type, model.device().real(), converted));
  };
  for (const Model::Parameter& p : model.parameters()) copy(p.name, p.shape);
  for (const Model::Statistic& s : model.statistics()) copy(s.name, s.shape);
  return missing;
}

ModelFile::ModelFile(const std::string& path)
    : path_(path),
      file_(std::make_unique<SafetensorsStream>(path)),
      info_(info_of(file_->metadata(), path)) {}

ModelFile::~ModelFile() = default;

const std::map<std::string, std::string>& ModelFile::metadata() const { return file_->metadata(); }

const std::vector<std::string>& ModelFile::notes() const { return file_->notes(); }

void ModelFile::restore(Model& model) {
  Device& device = model.device();
  const Backend& backend = device.backend();
  // By the tensor's number in the file; without memory: the model has no use for it.
  std::vector<View> places(file_->tensors().size());
  std::map<std::string_view, size_t> numbers;
  for (size_t i = 0; i < places.size(); i++) numbers[file_->tensors()[i].name] = i;
  const auto place = [&](const std::string& name, const Shape& shape) {
    const auto found = numbers.find(name);
    if (found == numbers.end())
      file_error("'" + path_ + "' has no tensor " + shown(name) + " (use a file that has it)");
    const StoredTensor& tensor = file_->tensors()[found->second];
    if (tensor.shape != extents(shape) || !is_float(tensor)) wrong_shape(path_, name, shape);
    places[found->second] = model.view(name, {shape});
  };
  for (const Model::Parameter& p : model.parameters()) place(p.name, p.shape);
  for (const Model::Statistic& s : model.statistics()) place(s.name, s.shape);

  std::vector<std::byte> converted;
  file_->read([&](size_t number, size_t offset, std::span<const std::byte> bytes) {
    const View& to = places[number];
    if (!to.data) return;
    const StoredType stored = file_->tensors()[number].type;
    const size_t first = offset / size_of(stored);
    bytes = as_real(bytes, stored, to.type, converted);
    backend.copy_in(device.stream(), to.as<std::byte>() + first * size_of(to.type), bytes.data(),
                    bytes.size());
  });
  backend.synchronize(device.stream());
  model.changed();
}

}  // namespace fulmar
