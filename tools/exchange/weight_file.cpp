#include "tools/exchange/weight_file.h"

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "engine/io/file.h"
#include "kernels/bf16.h"
#include "kernels/error.h"
#include "tools/exchange/pickle.h"
#include "tools/exchange/zip.h"

namespace fulmar::exchange {
namespace {

using Kind = Pickle::Kind;
using Node = Pickle::Node;
using BytesOf = std::function<std::string_view(const std::string& key, uint64_t bytes)>;

constexpr uint64_t max_file_bytes = uint64_t{16} << 30;
// Of an old file: the number that it begins with, and its version.
constexpr std::string_view legacy_magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t legacy_version = 1001;
// Keys under which training programs keep the weights of a checkpoint.
constexpr std::array wrapping_keys{"state_dict", "model_state_dict", "model",  "teacher", "student",
                                   "net",        "network",          "weights"};

double half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 31)
    return fraction ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

template <class T>
double number_at(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

double value_at(StoredType type, const char* at) {
  switch (type) {
    case StoredType::f64:
      return number_at<double>(at);
    case StoredType::f32:
      return static_cast<double>(number_at<float>(at));
    case StoredType::f16: {
      uint16_t bits;
      std::memcpy(&bits, at, sizeof bits);
      return half_value(bits);
    }
    case StoredType::bf16: {
      bf16 value;
      std::memcpy(&value, at, sizeof value);
      return static_cast<double>(to_float(value));
    }
    case StoredType::i64:
      return number_at<int64_t>(at);
    case StoredType::i32:
      return number_at<int32_t>(at);
    case StoredType::i16:
      return number_at<int16_t>(at);
    case StoredType::i8:
      return number_at<int8_t>(at);
    case StoredType::u64:
      return number_at<uint64_t>(at);
    case StoredType::u32:
      return number_at<uint32_t>(at);
    case StoredType::u16:
      return number_at<uint16_t>(at);
    case StoredType::u8:
    case StoredType::boolean:
      return number_at<uint8_t>(at);
  }
  return 0;
}

// a b, or nothing where that is more than any storage has.
bool multiply(int64_t& a, int64_t b) { return !__builtin_mul_overflow(a, b, &a); }

// Error(file) where a tensor reaches beyond its storage, or has more elements.
void check_extents(const std::string& name, const FileTensor& t) {
  const auto held = static_cast<int64_t>(t.storage.size()) / static_cast<int64_t>(size_of(t.type));
  int64_t count = 1, last = t.offset;
  bool fits = true;
  for (size_t axis = 0; axis < t.shape.size(); axis++) {
    int64_t reach = t.shape[axis] - 1;
    fits = fits && multiply(count, t.shape[axis]) && multiply(reach, t.stride[axis]) &&
           !__builtin_add_overflow(last, reach, &last);
  }
  if (!fits || count > held || t.offset > held || (count > 0 && last >= held))
    file_error("its tensor " + shown(name) + " claims more elements than its storage holds");
}

}  // namespace

// Takes the tensors of a state dict out of a pickle.
class WeightFile::Unwrapped {
 public:
  Unwrapped(WeightFile& file, const Pickle& pickle, const BytesOf& bytes_of)
      : file_(file), pickle_(pickle), bytes_of_(bytes_of) {}

  void take() {
    const Node& dict = state_dict();
    size_t others = 0;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const Node &key = pickle_.node(dict.items[i]), &value = pickle_.node(dict.items[i + 1]);
      if (key.kind == Kind::text && value.kind == Kind::tensor)
        take(key.text, pickle_.tensor(value));
      else
        others++;
    }
    if (others > 0)
      file_.notes_.push_back(std::to_string(others) +
                             " entries beside the weights are no tensors and are left out");
  }

 private:
  bool has_tensors(const Node& dict) const {
    if (dict.kind != Kind::dict) return false;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2)
      if (pickle_.node(dict.items[i + 1]).kind == Kind::tensor) return true;
    return false;
  }
  // The dict of tensors: the file's own, or one within a checkpoint.
  const Node& state_dict() {
    const Node* dict = &pickle_.root();
    for (int depth = 0; depth < 3; depth++) {
      if (has_tensors(*dict)) return *dict;
      const Node* inner = nullptr;
      for (const char* key : wrapping_keys)
        if (const Node* found = pickle_.find(*dict, key); found && found->kind == Kind::dict) {
          file_.notes_.push_back(std::string("the weights are those under '") + key + "'");
          inner = found;
          break;
        }
      if (!inner) break;
      dict = inner;
    }
    std::string keys;
    for (size_t i = 0; i + 1 < pickle_.root().items.size() && i < 16; i += 2)
      keys += (i > 0 ? ", " : " ") + shown(pickle_.node(pickle_.root().items[i]).text);
    file_error("it holds no dict of tensors; at its top is " +
               (keys.empty() ? "something else" : "a dict of" + keys));
  }
  void take(const std::string& name, const TorchTensor& from) {
    const TorchStorage& storage = pickle_.storages().at(from.storage);
    int64_t bytes = storage.elements;
    if (!multiply(bytes, static_cast<int64_t>(size_of(storage.type))))
      file_error("its storage " + shown(from.storage) + " claims more than can be");
    FileTensor tensor{from.type, from.shape, from.stride, from.offset,
                      bytes_of_(from.storage, static_cast<uint64_t>(bytes))};
    check_extents(name, tensor);
    if (!file_.tensors_.emplace(name, std::move(tensor)).second)
      file_error("it holds the tensor " + shown(name) + " twice");
  }

  WeightFile& file_;
  const Pickle& pickle_;
  const BytesOf& bytes_of_;
};

int64_t FileTensor::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

std::vector<double> WeightFile::values(const FileTensor& t) const {
  const size_t bytes = size_of(t.type), rank = t.shape.size();
  std::vector<double> values(static_cast<size_t>(t.elements()));
  std::vector<int64_t> index(rank, 0);
  int64_t at = t.offset;
  for (double& value : values) {
    value = value_at(t.type, t.storage.data() + static_cast<size_t>(at) * bytes);
    for (size_t axis = rank; axis-- > 0;) {
      at += t.stride[axis];
      if (++index[axis] < t.shape[axis]) break;
      at -= t.shape[axis] * t.stride[axis];
      index[axis] = 0;
    }
  }
  return values;
}

WeightFile WeightFile::read(const std::string& path) {
  return parse(read_file(path, max_file_bytes), path);
}

WeightFile WeightFile::parse(std::string bytes, const std::string& name) {
  WeightFile file;
  file.bytes_ = std::make_shared<const std::string>(std::move(bytes));
  const std::string_view all = *file.bytes_;
  if (all.substr(0, 2) != "PK" && all.substr(0, 1) != "\x80") {
    // 8 bytes of length, then JSON.
    if (all.size() > 8 && all[8] == '{') {
      file.read_safetensors(name);
      return file;
    }
    file_error(name + ": it is no file of weights: neither of torch.save nor of safetensors");
  }
  try {
    all[0] == 'P' ? file.read_zip() : file.read_legacy();
    if (file.tensors_.empty()) file_error("it holds no tensors");
  } catch (const Error& error) {
    throw Error(error.kind(), name + ": " + error.what());
  }
  return file;
}

void WeightFile::read_zip() {
  format_ = "PyTorch";
  const ZipArchive archive(*bytes_);
  std::string root;
  for (const auto& [name, bytes] : archive.entries()) {
    const size_t end = name.find('/');
    if (end != std::string::npos && name.substr(end) == "/data.pkl") root = name.substr(0, end + 1);
  }
  if (root.empty()) file_error("it is a zip archive, but none of torch.save: it has no data.pkl");
  if (archive.entries().count(root + "byteorder") > 0 &&
      archive.read(root + "byteorder") != "little")
    file_error("its numbers are big-endian; save it anew on another machine");
  std::string_view text = archive.read(root + "data.pkl");
  const Pickle pickle = Pickle::read(text);
  std::map<std::string, std::string_view> read;  // each is checked once
  Unwrapped(*this, pickle, [&](const std::string& key, uint64_t bytes) {
    auto found = read.find(key);
    if (found == read.end()) found = read.emplace(key, archive.read(root + "data/" + key)).first;
    if (found->second.size() != bytes)
      file_error("its storage " + shown(key) + " has " + std::to_string(found->second.size()) +
                 " bytes instead of " + std::to_string(bytes));
    return found->second;
  }).take();
}

// Pickles one behind the other (magic number, version, the machine, the object, the keys of the
// storages), then for each key the number of elements and the elements.
void WeightFile::read_legacy() {
  format_ = "PyTorch before 1.6";
  std::string_view rest = *bytes_;
  if (Pickle::read(rest).root().text != legacy_magic)
    file_error("it is a pickle, but none of torch.save; save a state dict with torch.save");
  if (Pickle::read(rest).root().integer != legacy_version)
    file_error("its version isn't 1001, the only one of this kind");
  const Pickle machine = Pickle::read(rest);
  if (const Node* little = machine.find(machine.root(), "little_endian");
      !little || little->kind != Kind::boolean || little->integer == 0)
    file_error("its numbers are big-endian; save it anew on another machine");
  const Pickle pickle = Pickle::read(rest);
  const Pickle keys = Pickle::read(rest);
  std::map<std::string, std::string_view> storages;
  for (const uint32_t item : keys.root().items) {
    const std::string& key = keys.node(item).text;
    const auto described = pickle.storages().find(key);
    if (described == pickle.storages().end())
      file_error("its storage " + shown(key) + " belongs to nothing");
    uint64_t count = 0;
    if (rest.size() < sizeof count) file_error("it is cut short");
    std::memcpy(&count, rest.data(), sizeof count);
    rest.remove_prefix(sizeof count);
    const uint64_t bytes = size_of(described->second.type);
    if (count != static_cast<uint64_t>(described->second.elements) || count > rest.size() / bytes)
      file_error("its storage " + shown(key) + " is cut short");
    storages[key] = rest.substr(0, static_cast<size_t>(count * bytes));
    rest.remove_prefix(static_cast<size_t>(count * bytes));
  }
  Unwrapped(*this, pickle, [&](const std::string& key, uint64_t) {
    const auto found = storages.find(key);
    if (found == storages.end()) file_error("its storage " + shown(key) + " is missing");
    return found->second;
  }).take();
}

void WeightFile::read_safetensors(const std::string& name) {
  format_ = "safetensors";
  safetensors_ = std::make_shared<const Safetensors>(
      Safetensors::parse(std::as_bytes(std::span(*bytes_)), name));
  bytes_.reset();
  for (const StoredTensor& t : safetensors_->tensors()) {
    FileTensor tensor{t.type,
                      t.shape,
                      std::vector<int64_t>(t.shape.size()),
                      0,
                      {static_cast<const char*>(t.data), t.bytes()}};
    int64_t stride = 1;
    for (size_t axis = t.shape.size(); axis-- > 0;) {
      tensor.stride[axis] = stride;
      stride *= t.shape[axis];
    }
    tensors_.emplace(t.name, std::move(tensor));
  }
  if (tensors_.empty()) file_error(name + ": it holds no tensors");
  notes_ = safetensors_->notes();
}

}  // namespace fulmar::exchange
