#include "tools/exchange/pickle.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "kernels/error.h"

namespace fulmar::exchange {
namespace {

using Kind = Pickle::Kind;
using Node = Pickle::Node;

[[noreturn]] void refuse(const std::string& problem) { file_error("its pickle " + problem); }

// What a global stands for.
enum class Global : uint8_t {
  dict,
  counter,
  storage,     // of elements of a type
  element,     // a dtype
  rebuild,     // a tensor of storage, offset, extents, strides, …
  rebuild_v3,  // the same, its element type beside an untyped storage
  parameter,   // gives the tensor that it is made of
  shape,
  opaque
};

struct Allowed {
  Global is;
  StoredType type = StoredType::f32;
};

// "module name". The list of PyTorch's own weights-only reader, as far as files of weights need it.
const std::map<std::string, Allowed, std::less<>>& allowed_globals() {
  static const std::map<std::string, Allowed, std::less<>> all = [] {
    std::map<std::string, Allowed, std::less<>> globals{
        {"collections OrderedDict", {Global::dict}},
        {"collections Counter", {Global::counter}},
        {"torch._utils _rebuild_tensor", {Global::rebuild}},
        {"torch._utils _rebuild_tensor_v2", {Global::rebuild}},
        {"torch._utils _rebuild_tensor_v3", {Global::rebuild_v3}},
        {"torch._utils _rebuild_parameter", {Global::parameter}},
        {"torch._utils _rebuild_parameter_with_state", {Global::parameter}},
        {"torch.nn.parameter Parameter", {Global::parameter}},
        {"torch Size", {Global::shape}},
        {"torch device", {Global::opaque}},
        {"_codecs encode", {Global::opaque}},
        {"torch UntypedStorage", {Global::storage, StoredType::u8}},
        {"torch.storage UntypedStorage", {Global::storage, StoredType::u8}},
    };
    for (const char* module : {"builtins", "__builtin__"})
      for (const char* name : {"set", "bytearray", "complex"})
        globals[std::string(module) + " " + name] = {Global::opaque};
    const std::pair<const char*, StoredType> storages[] = {
        {"Float", StoredType::f32},     {"Double", StoredType::f64}, {"Half", StoredType::f16},
        {"BFloat16", StoredType::bf16}, {"Long", StoredType::i64},   {"Int", StoredType::i32},
        {"Short", StoredType::i16},     {"Char", StoredType::i8},    {"Byte", StoredType::u8},
        {"Bool", StoredType::boolean}};
    for (const auto& [name, type] : storages)
      globals[std::string("torch ") + name + "Storage"] = {Global::storage, type};
    const std::pair<const char*, StoredType> elements[] = {
        {"float32", StoredType::f32},   {"float64", StoredType::f64}, {"float16", StoredType::f16},
        {"bfloat16", StoredType::bf16}, {"int64", StoredType::i64},   {"int32", StoredType::i32},
        {"int16", StoredType::i16},     {"int8", StoredType::i8},     {"uint8", StoredType::u8},
        {"bool", StoredType::boolean}};
    for (const auto& [name, type] : elements)
      globals[std::string("torch ") + name] = {Global::element, type};
    return globals;
  }();
  return all;
}

std::string hexadecimal(uint8_t byte) {
  char text[8];
  std::snprintf(text, sizeof text, "0x%02x", byte);
  return text;
}

}  // namespace

// The machine that a pickle is a program for, with opcodes that make data alone.
class Unpickler {
 public:
  explicit Unpickler(std::string_view& bytes) : bytes_(bytes) {}

  Pickle run() {
    while (step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) refuse("doesn't end with one value");
    pickle_.root_ = stack_[0];
    return std::move(pickle_);
  }

 private:
  template <class T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view take_bytes(size_t count) {
    if (count > bytes_.size()) refuse("is cut short");
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::string take_text(size_t count) {
    if (count > Pickle::max_text_bytes) refuse("holds a text of more than 1 MiB");
    return std::string(take_bytes(count));
  }
  std::string take_line() {
    const size_t end = bytes_.substr(0, 1024).find('\n');
    if (end == std::string_view::npos) refuse("has a name without an end");
    std::string line(take_bytes(end));
    take_bytes(1);
    return line;
  }

  uint32_t add(Node node) {
    if (pickle_.nodes_.size() >= Pickle::max_nodes) refuse("holds more than 2^21 values");
    pickle_.nodes_.push_back(std::move(node));
    return static_cast<uint32_t>(pickle_.nodes_.size() - 1);
  }
  void push(Node node) { push_number(add(std::move(node))); }
  void push_number(uint32_t number) {
    count_items(1);
    stack_.push_back(number);
  }
  // Every entry of the stack, a list or a memo came of one of the file's bytes.
  void count_items(size_t count) {
    items_ += count;
    if (items_ > Pickle::max_items) refuse("puts more than 2^22 values together");
  }
  static Node of(Kind kind, int64_t integer = 0) {
    Node node;
    node.kind = kind;
    node.integer = integer;
    return node;
  }
  static Node text_of(std::string text) {
    Node node = of(Kind::text);
    node.text = std::move(text);
    return node;
  }
  Node& at(uint32_t number) { return pickle_.nodes_[number]; }

  uint32_t pop() {
    const size_t least = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= least) refuse("takes a value where there is none");
    const uint32_t number = stack_.back();
    stack_.pop_back();
    return number;
  }
  Node& top() {
    const size_t least = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= least) refuse("takes a value where there is none");
    return at(stack_.back());
  }
  std::vector<uint32_t> pop_to_mark() {
    if (marks_.empty()) refuse("goes back to a mark where there is none");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<uint32_t> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<uint32_t> pop_last(size_t count) {
    std::vector<uint32_t> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  void push_tuple(std::vector<uint32_t> items) {
    count_items(items.size());
    Node node = of(Kind::tuple);
    node.items = std::move(items);
    push(std::move(node));
  }
  void append(std::vector<uint32_t> items, Kind kind) {
    Node& to = top();
    if (to.kind == Kind::opaque) return;  // a set's
    if (to.kind != kind) refuse("adds items to what takes none");
    if (kind == Kind::dict && items.size() % 2 != 0) refuse("has a key without a value");
    count_items(items.size());
    to.items.insert(to.items.end(), items.begin(), items.end());
  }

  bool step() {
    const auto op = take<uint8_t>();
    switch (op) {
      case 0x80:
        if (const auto protocol = take<uint8_t>(); protocol > 5)
          refuse("has the unknown protocol " + std::to_string(protocol));
        return true;
      case '.':
        return false;
      case '(':
        if (marks_.size() >= Pickle::max_depth) refuse("is nested more than 64 deep");
        marks_.push_back(stack_.size());
        return true;
      case 'c':
        push_global();
        return true;
      case 'R':
        reduce();
        return true;
      case 0x81:
        make_object();
        return true;
      case 'b':
        build();
        return true;
      case 'Q':
        push_storage();
        return true;
      default:
        if (!push_constant(op) && !change_container(op) && !use_memo(op))
          refuse("has the opcode " + hexadecimal(op) + ", which no file of weights needs");
        return true;
    }
  }

  bool push_constant(uint8_t op) {
    switch (op) {
      case 'N':
        push(of(Kind::none));
        return true;
      case 0x88:
      case 0x89:
        push(of(Kind::boolean, op == 0x88));
        return true;
      case 'J':
        push(of(Kind::integer, take<int32_t>()));
        return true;
      case 'K':
        push(of(Kind::integer, take<uint8_t>()));
        return true;
      case 'M':
        push(of(Kind::integer, take<uint16_t>()));
        return true;
      case 0x8a:
        push_long();
        return true;
      case 'G':
        push_real();
        return true;
      case 'X':
        push(text_of(take_text(take<uint32_t>())));
        return true;
      case 'U':
        push(text_of(take_text(take<uint8_t>())));
        return true;
      default:
        return false;
    }
  }

  bool change_container(uint8_t op) {
    switch (op) {
      case ')':
        push_tuple({});
        return true;
      case 0x85:
      case 0x86:
      case 0x87:
        push_tuple(pop_last(op - 0x84u));
        return true;
      case 't':
        push_tuple(pop_to_mark());
        return true;
      case ']':
        push(of(Kind::list));
        return true;
      case '}':
        push(of(Kind::dict));
        return true;
      case 0x8f:
        push(of(Kind::opaque));
        return true;
      case 'a':
        append(pop_last(1), Kind::list);
        return true;
      case 'e':
        append(pop_to_mark(), Kind::list);
        return true;
      case 's':
        append(pop_last(2), Kind::dict);
        return true;
      case 'u':
        append(pop_to_mark(), Kind::dict);
        return true;
      default:
        return false;
    }
  }

  bool use_memo(uint8_t op) {
    switch (op) {
      case 'q':
        keep(take<uint8_t>());
        return true;
      case 'r':
        keep(take<uint32_t>());
        return true;
      case 'h':
        recall(take<uint8_t>());
        return true;
      case 'j':
        recall(take<uint32_t>());
        return true;
      default:
        return false;
    }
  }
  void keep(uint32_t place) {
    top();
    count_items(1);
    memo_[place] = stack_.back();
  }
  void recall(uint32_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) refuse("recalls a value that it didn't keep");
    push_number(found->second);
  }

  void push_long() {
    const auto bytes = take_text(take<uint8_t>());
    if (bytes.size() > 8) return push(text_of(bytes));
    uint64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    const auto unused = static_cast<unsigned>(64 - 8 * bytes.size());
    if (unused > 0 && unused < 64)
      push(of(Kind::integer, static_cast<int64_t>(value << unused) >> unused));
    else
      push(of(Kind::integer, static_cast<int64_t>(value)));
  }
  void push_real() {
    std::string bytes(take_bytes(8));
    std::reverse(bytes.begin(), bytes.end());  // big-endian
    Node node = of(Kind::real);
    std::memcpy(&node.real, bytes.data(), 8);
    push(std::move(node));
  }

  void push_global() {
    const std::string module = take_line(), name = take_line();
    const std::string global = module + " " + name;
    if (allowed_globals().count(global) == 0)
      refuse("wants the global " + shown(module + "." + name) +
             ", which files of weights don't need, and nothing of it was run; save the weights "
             "alone: torch.save(model.state_dict(), FILE)");
    Node node = of(Kind::global);
    node.text = global;
    push(std::move(node));
  }
  Allowed global_of(const Node& node) const {
    if (node.kind != Kind::global) refuse("calls what is no function");
    return allowed_globals().find(node.text)->second;
  }

  // A copy: nodes move when one is added.
  std::vector<uint32_t> tuple_at(uint32_t number) {
    if (at(number).kind != Kind::tuple) refuse("has another value where a tuple belongs");
    return at(number).items;
  }
  int64_t count_at(uint32_t number) {
    const Node& node = at(number);
    if (node.kind != Kind::integer || node.integer < 0)
      refuse("has another value where a number from 0 on belongs");
    return node.integer;
  }
  std::vector<int64_t> counts_at(uint32_t number) {
    const std::vector<uint32_t> items = tuple_at(number);
    std::vector<int64_t> counts;
    for (const uint32_t item : items) counts.push_back(count_at(item));
    return counts;
  }

  void reduce() {
    const uint32_t arguments = pop(), function = pop();
    const Allowed global = global_of(at(function));
    call(global, tuple_at(arguments));
  }
  void make_object() {
    const uint32_t arguments = pop(), type = pop();
    const Allowed global = global_of(at(type));
    if (global.is != Global::dict && global.is != Global::counter)
      refuse("makes an object of " + shown(at(type).text));
    call(global, tuple_at(arguments));
  }
  // Makes what a call of the global would give.
  void call(Allowed global, const std::vector<uint32_t>& arguments) {
    switch (global.is) {
      case Global::dict:
      case Global::counter:
        return push_dict(arguments);
      case Global::rebuild:
        return push_tensor(arguments, {});
      case Global::rebuild_v3:
        if (arguments.size() < 7 || at(arguments[6]).kind != Kind::global)
          refuse("rebuilds a tensor without its element type");
        return push_tensor(arguments, global_of(at(arguments[6])));
      case Global::parameter:
      case Global::shape:
        if (arguments.empty()) refuse("calls a function without what it needs");
        return push_number(arguments[0]);
      case Global::opaque:
        return push(of(Kind::opaque));
      case Global::storage:
      case Global::element:
        break;
    }
    refuse("calls what is no function");
  }
  // Of nothing, of a dict, or of a list of pairs.
  void push_dict(const std::vector<uint32_t>& arguments) {
    Node dict = of(Kind::dict);
    if (!arguments.empty()) {
      const Node& from = at(arguments[0]);
      count_items(2 * from.items.size());
      if (from.kind == Kind::dict)
        dict.items = from.items;
      else if (from.kind == Kind::list)
        for (const uint32_t pair : from.items) {
          if (at(pair).items.size() != 2) refuse("makes a dict of what are no pairs");
          dict.items.insert(dict.items.end(), at(pair).items.begin(), at(pair).items.end());
        }
      else
        refuse("makes a dict of another value");
    }
    push(std::move(dict));
  }
  void push_tensor(const std::vector<uint32_t>& arguments, std::optional<Allowed> element) {
    if (arguments.size() < 4 || at(arguments[0]).kind != Kind::storage)
      refuse("rebuilds a tensor without a storage");
    TorchTensor tensor;
    tensor.storage = at(arguments[0]).text;
    tensor.type = pickle_.storages_.at(tensor.storage).type;
    if (element) {
      if (element->is != Global::element) refuse("rebuilds a tensor without its element type");
      tensor.type = element->type;
    }
    tensor.offset = count_at(arguments[1]);
    tensor.shape = counts_at(arguments[2]);
    tensor.stride = counts_at(arguments[3]);
    if (tensor.shape.size() != tensor.stride.size() || tensor.shape.size() > Pickle::max_depth)
      refuse("rebuilds a tensor whose extents and strides don't fit");
    pickle_.tensors_.push_back(std::move(tensor));
    push(of(Kind::tensor, static_cast<int64_t>(pickle_.tensors_.size() - 1)));
  }
  // Sets attributes of an object: those of dicts and parameters are of no interest.
  void build() {
    pop();
    const Kind kind = top().kind;
    if (kind != Kind::dict && kind != Kind::tensor && kind != Kind::opaque)
      refuse("sets attributes of what has none");
  }
  // ('storage', type, key, place, elements), in old files a view behind it, which is None.
  void push_storage() {
    const std::vector<uint32_t> parts = tuple_at(pop());
    const bool fits = parts.size() >= 5 && parts.size() <= 6 && at(parts[0]).text == "storage" &&
                      at(parts[1]).kind == Kind::global && at(parts[2]).kind == Kind::text;
    if (!fits) refuse("refers to another file, or to what is no storage");
    if (parts.size() == 6 && at(parts[5]).kind != Kind::none)
      refuse("has a view of a storage, which only very old PyTorch wrote; save the file anew");
    const Allowed type = global_of(at(parts[1]));
    if (type.is != Global::storage) refuse("has a storage of no type");
    const std::string key = at(parts[2]).text;
    const TorchStorage storage{type.type, count_at(parts[4])};
    const auto [known, is_new] = pickle_.storages_.emplace(key, storage);
    if (!is_new &&
        (known->second.type != storage.type || known->second.elements != storage.elements))
      refuse("describes the storage " + shown(key) + " in two ways");
    Node node = of(Kind::storage);
    node.text = key;
    push(std::move(node));
  }

  std::string_view& bytes_;
  Pickle pickle_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, uint32_t> memo_;
  size_t items_ = 0;
};

Pickle Pickle::read(std::string_view& bytes) { return Unpickler(bytes).run(); }

const Pickle::Node* Pickle::find(const Node& dict, std::string_view key) const {
  if (dict.kind != Kind::dict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2)
    if (const Node& name = nodes_[dict.items[i]]; name.kind == Kind::text && name.text == key)
      return &nodes_[dict.items[i + 1]];
  return nullptr;
}

}  // namespace fulmar::exchange
