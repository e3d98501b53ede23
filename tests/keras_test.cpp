#include <doctest/doctest.h>

#include "tests/support/keras_import.h"

using namespace fulmar;
using namespace fulmar::test;
