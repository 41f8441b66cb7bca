// Catch2 version 3 brings its main in a library, version 2 in its header, compiled here once.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
