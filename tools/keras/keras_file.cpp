#include "tools/keras/keras_file.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/error.h"
#include "tools/keras/hdf5_messages.h"

namespace fulmar::keras {
namespace {

// Reads fields off the front of what came in; nothing is taken where a field is not whole.
class Fields {
 public:
  Fields(const std::string& bytes, size_t at) : bytes_(bytes), at_(at) {}

  size_t at() const { return at_; }
  bool whole() const { return whole_; }

  template <class T>
  T number() {
    T value{};
    if (const char* from = next(sizeof value)) std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::string text() {
    const auto length = number<uint32_t>();
    if (length > max_text_bytes) file_error("a text of impossible length");
    const char* from = next(length);
    return from ? std::string(from, length) : std::string();
  }
  const char* next(uint64_t bytes) {
    if (!whole_ || bytes > bytes_.size() - at_) {
      whole_ = false;
      return nullptr;
    }
    const char* from = bytes_.data() + at_;
    at_ += bytes;
    return from;
  }

 private:
  const std::string& bytes_;
  size_t at_;
  bool whole_ = true;
};

Array read_array(Fields& fields, uint64_t& all_bytes) {
  Array array;
  const auto rank = fields.number<uint8_t>();
  if (rank > max_rank) file_error("an array of impossible rank");
  uint64_t elements = 1;
  for (int i = 0; i < rank; i++) {
    const auto extent = fields.number<int64_t>();
    if (!fields.whole()) return array;
    if (extent < 0 || static_cast<uint64_t>(extent) > max_array_bytes)
      file_error("an array of impossible extent");
    elements *= static_cast<uint64_t>(extent);
    if (elements > max_array_bytes / sizeof(float)) file_error("an array of impossible extent");
    array.shape.push_back(extent);
  }
  const char* from = fields.next(elements * sizeof(float));
  if (!from) return array;
  all_bytes += elements * sizeof(float);
  if (all_bytes > max_array_bytes) file_error("more arrays than are read");
  array.values.resize(elements);
  if (elements > 0) std::memcpy(array.values.data(), from, elements * sizeof(float));
  return array;
}

}  // namespace

std::string KerasFile::text(const std::string& object, const std::string& name) const {
  const auto found = attributes.find(object + "\n" + name);
  return found == attributes.end() || found->second.empty() ? "" : found->second[0];
}

std::vector<std::string> KerasFile::list(const std::string& object, const std::string& name) const {
  const auto whole = attributes.find(object + "\n" + name);
  if (whole != attributes.end()) return whole->second;
  std::vector<std::string> parts;
  for (int64_t i = 0;; i++) {
    const auto part = attributes.find(object + "\n" + name + std::to_string(i));
    if (part == attributes.end()) return parts;
    parts.insert(parts.end(), part->second.begin(), part->second.end());
  }
}

std::string KerasFile::config() const {
  const auto found = texts.find("config.json");
  return found == texts.end() ? text("/", "model_config") : found->second;
}

std::string KerasFile::version() const {
  if (!is_archive()) {
    const std::string own = text("/", "keras_version");
    return own.empty() ? text("/model_weights", "keras_version") : own;
  }
  const auto found = texts.find("metadata.json");
  if (found == texts.end()) return "";
  const auto json = nlohmann::json::parse(found->second, nullptr, false);
  const auto version = json.is_object() ? json.find("keras_version") : json.end();
  return json.is_object() && version != json.end() && version->is_string()
             ? version->get<std::string>()
             : "";
}

void MessageReader::take(std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    if (ended_) file_error("bytes behind the last message");
    Fields fields(bytes, done);
    const auto kind = static_cast<Message>(fields.number<uint8_t>());
    if (kind == Message::text_attribute) {
      const std::string path = fields.text(), name = fields.text();
      const auto count = fields.number<uint32_t>();
      if (count > max_objects) file_error("a list of impossible length");
      std::vector<std::string> values;
      for (uint32_t i = 0; i < count && fields.whole(); i++) values.push_back(fields.text());
      if (!fields.whole()) break;
      text_bytes_ += fields.at() - done;
      file_.attributes[path + "\n" + name] = std::move(values);
    } else if (kind == Message::array) {
      const std::string path = fields.text();
      Array array = read_array(fields, array_bytes_);
      if (!fields.whole()) break;
      file_.arrays[path] = std::move(array);
    } else if (kind == Message::text_file) {
      const std::string name = fields.text();
      std::string contents = fields.text();
      if (!fields.whole()) break;
      text_bytes_ += fields.at() - done;
      file_.texts[name] = std::move(contents);
    } else if (kind == Message::error) {
      const std::string what = fields.text();
      if (!fields.whole()) break;
      file_error(what);
    } else if (kind == Message::end) {
      ended_ = true;
    } else {
      file_error("a message of an unknown kind");
    }
    if (text_bytes_ > 4 * max_text_bytes) file_error("more texts than are read");
    done = fields.at();
  }
  bytes.erase(0, done);
}

}  // namespace fulmar::keras
