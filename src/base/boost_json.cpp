// Boost.JSON's own definitions, header-only: one file carries them for all.
#include <boost/json/src.hpp>
