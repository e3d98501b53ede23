#include "model/tfevents.h"

#include <cstring>
#include <string_view>

#include "engine/io/crc32c.h"
#include "kernels/error.h"

namespace fulmar::model {
namespace {

constexpr uint64_t max_file_bytes = uint64_t{1} << 30;
constexpr char version[] = "brain.Event:2";

// A CRC stored beside its data is masked, so that the CRC of a file with CRCs in it says something.
uint32_t masked_crc(std::string_view data) {
  const uint32_t crc = crc32c(data.data(), data.size());
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

template <class T>
T get(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// Protocol buffers' wire format: a key (field number, kind) before each value.
enum class Wire : uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
}
void put_key(std::string& out, uint64_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<uint64_t>(wire));
}
void put_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  put_key(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// event.proto: wall_time 1, step 2, file_version 3, summary 5; summary.proto: value 1 {tag 1,
// simple_value 2}
std::string encode(const Event& event) {
  std::string out;
  put_key(out, 1, Wire::fixed64);
  put(out, event.wall_time_s);
  if (event.step != 0) {
    put_key(out, 2, Wire::varint);
    put_varint(out, static_cast<uint64_t>(event.step));
  }
  if (!event.file_version.empty()) put_bytes(out, 3, event.file_version);
  std::string summary;
  for (const Scalar& scalar : event.scalars) {
    std::string value;
    put_bytes(value, 1, scalar.tag);
    put_key(value, 2, Wire::fixed32);
    put(value, scalar.value);
    put_bytes(summary, 1, value);
  }
  if (!summary.empty()) put_bytes(out, 5, summary);
  return out;
}

std::string record_of(const Event& event) {
  const std::string data = encode(event);
  std::string record;
  put(record, uint64_t{data.size()});
  put(record, masked_crc(record));
  record += data;
  put(record, masked_crc(data));
  return record;
}

// Walks over the fields of a message. Wrong bytes end it with ok() false.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}
  bool ok() const { return ok_; }

  bool next() {
    if (rest_.empty() || !ok_) return false;
    const uint64_t key = varint();
    field = key >> 3;
    wire = static_cast<Wire>(key & 7);
    switch (wire) {
      case Wire::varint:
        number = varint();
        return ok_;
      case Wire::fixed64:
        bytes = take(8);
        return ok_;
      case Wire::fixed32:
        bytes = take(4);
        return ok_;
      case Wire::bytes:
        bytes = take(varint());
        return ok_;
    }
    return ok_ = false;
  }

  uint64_t field = 0;
  Wire wire = Wire::varint;
  uint64_t number = 0;     // of a varint
  std::string_view bytes;  // of the others

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = take(1);
      if (!ok_) return 0;
      value |= uint64_t{static_cast<unsigned char>(byte[0]) & 127u} << shift;
      if (!(byte[0] & 128)) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  bool ok_ = true;
};

bool decode_scalar(std::string_view message, Scalar& scalar) {
  Fields value(message);
  while (value.next()) {
    if (value.field == 1 && value.wire == Wire::bytes) scalar.tag = value.bytes;
    if (value.field == 2 && value.wire == Wire::fixed32)
      scalar.value = get<float>(value.bytes.data());
  }
  return value.ok();
}

bool decode(std::string_view message, Event& event) {
  Fields fields(message);
  while (fields.next()) {
    if (fields.field == 1 && fields.wire == Wire::fixed64)
      event.wall_time_s = get<double>(fields.bytes.data());
    if (fields.field == 2 && fields.wire == Wire::varint)
      event.step = static_cast<int64_t>(fields.number);
    if (fields.field == 3 && fields.wire == Wire::bytes) event.file_version = fields.bytes;
    if (fields.field == 5 && fields.wire == Wire::bytes) {
      Fields summary(fields.bytes);
      while (summary.next())
        if (summary.field == 1 && summary.wire == Wire::bytes) {
          event.scalars.emplace_back();
          if (!decode_scalar(summary.bytes, event.scalars.back())) return false;
        }
      if (!summary.ok()) return false;
    }
  }
  return fields.ok();
}

// Takes the first record off `file`; false where it is not whole.
bool take_record(std::string_view& file, Event& event) {
  constexpr size_t before = 12, after = 4;
  if (file.size() < before + after) return false;
  const auto bytes = get<uint64_t>(file.data());
  if (get<uint32_t>(file.data() + 8) != masked_crc(file.substr(0, 8))) return false;
  if (bytes > file.size() - before - after) return false;
  const std::string_view data = file.substr(before, bytes);
  if (get<uint32_t>(file.data() + before + bytes) != masked_crc(data)) return false;
  event = Event{};
  if (!decode(data, event)) return false;
  file.remove_prefix(before + bytes + after);
  return true;
}

}  // namespace

EventFile::EventFile(const std::string& path, int64_t keep_through, double wall_time_s)
    : file_(path) {
  const std::string contents = read_file(path, max_file_bytes);
  std::string_view rest = contents;
  uint64_t kept = 0;
  Event event;
  while (take_record(rest, event) && (kept == 0 || event.step <= keep_through))
    kept = contents.size() - rest.size();
  const std::string first = record_of({wall_time_s, 0, version, {}});
  if (kept == 0 && contents.size() >= first.size())
    file_error("cannot continue '" + path +
               "': it is not an event file (move it away or write to another folder)");
  file_.truncate(kept);
  if (kept == 0) file_.append(first);
}

void EventFile::add(int64_t step, std::span<const Scalar> scalars, double wall_time_s) {
  file_.append(record_of({wall_time_s, step, "", {scalars.begin(), scalars.end()}}));
}

std::vector<Event> read_events(const std::string& path) {
  const std::string contents = read_file(path, max_file_bytes);
  std::string_view rest = contents;
  std::vector<Event> events;
  for (Event event; take_record(rest, event);) events.push_back(event);
  return events;
}

}  // namespace fulmar::model
