#include "engine/io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/error.h"

namespace fulmar {
namespace {

struct TypeRow {
  StoredType type;
  const char* name;
  size_t bytes;
};
constexpr std::array<TypeRow, 13> type_rows{{{StoredType::f64, "F64", 8},
                                             {StoredType::f32, "F32", 4},
                                             {StoredType::f16, "F16", 2},
                                             {StoredType::bf16, "BF16", 2},
                                             {StoredType::i64, "I64", 8},
                                             {StoredType::i32, "I32", 4},
                                             {StoredType::i16, "I16", 2},
                                             {StoredType::i8, "I8", 1},
                                             {StoredType::u64, "U64", 8},
                                             {StoredType::u32, "U32", 4},
                                             {StoredType::u16, "U16", 2},
                                             {StoredType::u8, "U8", 1},
                                             {StoredType::boolean, "BOOL", 1}}};

constexpr size_t max_rank = 64;  // numpy's

// Takes the JSON as a stream of events: nothing but the format's three levels is ever stored, so
// deep nesting or endless lists cost nothing, and names given twice are seen.
class HeaderReader {
 public:
  explicit HeaderReader(SafetensorsHeader& header) : header_(header) {}
  const std::string& problem() const { return problem_; }

  bool start_object(size_t) {
    if (at_ == At::start) return go(At::top);
    if (at_ == At::top && key_ == "__metadata__") return go(At::metadata);
    if (at_ == At::top) {
      header_.entries.emplace_back();
      header_.entries.back().tensor.name = key_;
      has_type_ = has_shape_ = has_offsets_ = false;
      return go(At::tensor);
    }
    return unexpected("an object");
  }

  bool end_object() {
    if (at_ == At::tensor) {
      if (!has_type_ || !has_shape_ || !has_offsets_)
        return fail("tensor " + shown(tensor().name) + " lacks " +
                    (!has_type_    ? "dtype"
                     : !has_shape_ ? "shape"
                                   : "data_offsets"));
      return go(At::top);
    }
    return go(at_ == At::metadata ? At::top : At::end);
  }

  bool key(std::string& text) {
    key_ = text;
    if (at_ == At::top && !names_.insert(text).second)
      return fail("the name " + shown(text) + " is there twice");
    return true;
  }

  bool string(std::string& text) {
    if (at_ == At::metadata) {
      if (header_.metadata.emplace(key_, text).second) return true;
      return fail("the metadata key " + shown(key_) + " is there twice");
    }
    if (at_ != At::tensor || key_ != "dtype") return unexpected("a text");
    if (has_type_) return twice();
    has_type_ = true;
    for (const TypeRow& row : type_rows)
      if (text == row.name) {
        tensor().type = row.type;
        return true;
      }
    return fail("tensor " + shown(tensor().name) + " has the unknown type " + shown(text));
  }

  bool start_array(size_t) {
    if (at_ == At::tensor && key_ == "shape") {
      if (has_shape_) return twice();
      has_shape_ = true;
      return go(At::shape);
    }
    if (at_ == At::tensor && key_ == "data_offsets") {
      if (has_offsets_) return twice();
      has_offsets_ = true;
      offsets_ = 0;
      return go(At::offsets);
    }
    return unexpected("a list");
  }

  bool end_array() {
    if (at_ == At::offsets && offsets_ != 2)
      return fail("tensor " + shown(tensor().name) + " needs two data_offsets");
    return go(At::tensor);
  }

  bool number_unsigned(uint64_t number) {
    if (at_ == At::shape) {
      if (tensor().shape.size() == max_rank)
        return fail("tensor " + shown(tensor().name) + " has more than 64 axes");
      if (number > INT64_MAX) return fail("tensor " + shown(tensor().name) + " is too large");
      tensor().shape.push_back(static_cast<int64_t>(number));
      return true;
    }
    if (at_ == At::offsets && offsets_ < 2) {
      (offsets_ == 0 ? header_.entries.back().begin : header_.entries.back().end) = number;
      offsets_++;
      return true;
    }
    return unexpected("a number");
  }

  bool number_integer(int64_t) { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) { return unexpected("a fraction or huge number"); }
  bool boolean(bool) { return unexpected("true or false"); }
  bool null() { return unexpected("null"); }
  bool binary(std::vector<uint8_t>&) { return unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
    return fail("its header is not JSON at byte " + std::to_string(position));
  }

 private:
  enum class At { start, top, metadata, tensor, shape, offsets, end };

  StoredTensor& tensor() { return header_.entries.back().tensor; }
  bool go(At at) {
    at_ = at;
    return true;
  }
  bool fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool twice() {
    return fail("tensor " + shown(tensor().name) + " has two entries " + shown(key_));
  }
  bool unexpected(const std::string& what) {
    if (at_ == At::start) return fail("its header is not a JSON object");
    return fail("its header has " + what + " where none belongs, at " + shown(key_));
  }

  SafetensorsHeader& header_;
  std::string problem_;
  At at_ = At::start;
  std::string key_;
  std::set<std::string> names_;
  bool has_type_ = false, has_shape_ = false, has_offsets_ = false;
  int offsets_ = 0;
};

// Bytes of a tensor; false where they, or the product of some of its extents, overflow int64.
bool bytes_of(const StoredTensor& tensor, uint64_t& bytes) {
  auto product = static_cast<int64_t>(size_of(tensor.type));
  bool empty = false;
  for (const int64_t extent : tensor.shape) {
    empty = empty || extent == 0;
    if (__builtin_mul_overflow(product, std::max<int64_t>(extent, 1), &product)) return false;
  }
  bytes = empty ? 0 : static_cast<uint64_t>(product);
  return true;
}

void check_layout(const std::vector<SafetensorsEntry>& entries, uint64_t data_bytes,
                  const std::string& file) {
  const auto wrong = [&file](const std::string& problem) { damaged_safetensors(file, problem); };
  uint64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::string name = "tensor " + shown(entry.tensor.name);
    uint64_t bytes = 0;
    if (!bytes_of(entry.tensor, bytes)) wrong(name + " is too large");
    if (entry.end < entry.begin) wrong(name + " ends before it begins");
    if (entry.end - entry.begin != bytes)
      wrong(name + " has " + std::to_string(entry.end - entry.begin) + " bytes, its shape needs " +
            std::to_string(bytes));
    if (entry.begin < position) wrong(name + " overlaps the one before it");
    if (entry.begin > position) wrong("there is a gap before " + name);
    position = entry.end;
  }
  if (position > data_bytes)
    wrong("it is cut short: its tensors need " + std::to_string(position) + " bytes, " +
          std::to_string(data_bytes) + " are there");
  if (position < data_bytes)
    wrong(std::to_string(data_bytes - position) + " bytes follow its last tensor");
}

}  // namespace

size_t size_of(StoredType type) { return type_rows[static_cast<size_t>(type)].bytes; }
const char* name_of(StoredType type) { return type_rows[static_cast<size_t>(type)].name; }

int64_t StoredTensor::elements() const {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

std::string shown(std::string_view text) {
  constexpr size_t max_shown = 80;
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text.substr(0, max_shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 32 || byte == 127)
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    else
      out += c;
  }
  return out + (text.size() > max_shown ? "...'" : "'");
}

void damaged_safetensors(const std::string& file, const std::string& problem) {
  file_error("cannot read '" + file + "': " + problem +
             " (the file is damaged or not a safetensors file: copy it again or use another one)");
}

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes,
                                           const std::string& file) {
  // The format asks for '{' first; nlohmann-json would take a NUL for the end of the text.
  if (json.empty() || json[0] != '{') damaged_safetensors(file, "its header is not a JSON object");
  if (json.find('\0') != json.npos) damaged_safetensors(file, "its header has a NUL byte");
  SafetensorsHeader header;
  HeaderReader reader(header);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader))
    damaged_safetensors(file, reader.problem());
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
                     return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
                   });
  check_layout(header.entries, data_bytes, file);
  return header;
}

}  // namespace fulmar
