# Warnings, sanitizers and hardening for every target.
add_compile_options(-Wall -Wextra -Werror -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla
	-Wcast-qual -Wswitch-enum -fno-strict-aliasing)
add_compile_definitions(_GNU_SOURCE)
include_directories(${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/lib)

if(MAYFLY_SANITIZE)
	add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1)
	add_link_options(-fsanitize=address,undefined)
	add_compile_definitions(MAYFLY_SANITIZE=1)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
	add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
		-fcf-protection -UNDEBUG)
	add_link_options(-Wl,-z,relro,-z,now -pie)
endif()
if(MAYFLY_FUZZ)
	add_compile_options(-fsanitize=fuzzer-no-link)
endif()
