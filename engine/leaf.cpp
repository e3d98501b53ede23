#include "engine/leaf.h"

#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

// Whether a leaf is what is asked for by its key. An input may stand in for a Model's buffer: such
// a tape runs without a Model.
bool same_leaf(const Leaf& known, Leaf::Kind kind) {
  return known.kind() == kind || (kind == Leaf::Kind::buffer && known.kind() == Leaf::Kind::input);
}

// A leaf with the same key is the same value.
Val leaf(Tape& tape, Leaf::Kind kind, const std::string& key, const ValueInfo& info,
         const Initializer& initializer, bool decays, double initial, bool trainable = true) {
  if (tape.has(key)) {
    const Val known = tape.find(key);
    const Node& node = tape.node(known.node);
    const Leaf* other = as_leaf(node);
    require(other && other->key() == key && same_leaf(*other, kind) && node.outputs[0] == info &&
                other->trainable == trainable,
            "'" + key + "' is already a value: " + std::string(node.op->name()) + " " +
                text(tape.shape(known)));
    return known;
  }
  auto op = std::make_shared<Leaf>(kind, key, info);
  op->initializer = initializer;
  op->decays = decays;
  op->initial = initial;
  op->trainable = trainable;
  const Val value = tape.append(std::move(op), {});
  tape.name(value, key);
  return value;
}

}  // namespace

std::string_view Leaf::name() const {
  switch (kind_) {
    case Kind::input:
      return "input";
    case Kind::parameter:
      return "parameter";
    case Kind::statistic:
      return "statistic";
    case Kind::buffer:
      return "buffer";
  }
  return "leaf";
}

Attributes Leaf::attributes() const { return {{"key", key_}}; }

void Constant::run(Device& device, const RunArgs& args) const {
  device.backend().fill(device.stream(), args.out[0], value);
}

Val input(Tape& tape, const std::string& name, const ValueInfo& info) {
  require(!tape.has(name), "there are two inputs named '" + name + "'");
  return leaf(tape, Leaf::Kind::input, name, info, {}, false, 0);
}

Val parameter(Tape& tape, const std::string& name, const Shape& shape,
              const Initializer& initializer, bool decays, bool trainable) {
  return leaf(tape, Leaf::Kind::parameter, name, {shape, Role::parameter, DType::f32}, initializer,
              decays, 0, trainable);
}

Val statistic(Tape& tape, const std::string& name, const Shape& shape, double initial) {
  return leaf(tape, Leaf::Kind::statistic, name, {shape, Role::statistic, DType::f32}, {}, false,
              initial);
}

Val buffer(Tape& tape, const std::string& name, const ValueInfo& info) {
  return leaf(tape, Leaf::Kind::buffer, name, info, {}, false, 0);
}

Val constant(Tape& tape, const Shape& shape, double value, Role role) {
  return tape.append(std::make_shared<Constant>(of_role(role, shape), value), {});
}

}  // namespace fulmar::ops
