/* Signs every case of cases.json with libjwt; one JSON line a token on standard output.
 * The cases are read with jansson, which libjwt itself stands on. */
#include <jansson.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t decode_base64url(const char *text, unsigned char *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned int bits = 0, held = 0;
	size_t length = 0;

	for (; *text != '\0'; text++) {
		bits = bits << 6 | (unsigned int)(strchr(alphabet, *text) - alphabet);
		held += 6;
		if (held >= 8) {
			held -= 8;
			out[length++] = (unsigned char)(bits >> held);
		}
	}
	return length;
}

int main(void)
{
	json_t *cases = json_load_file("cases.json", 0, NULL), *entry;
	size_t index;

	json_array_foreach(cases, index, entry) {
		const char *name = json_string_value(json_object_get(entry, "case"));
		char *claims = json_dumps(json_object_get(entry, "claims"), JSON_COMPACT);
		unsigned char secret[256];
		size_t length = decode_base64url(json_string_value(json_object_get(entry, "secret")), secret);
		char *token = NULL;
		jwt_t *jwt = NULL;

		if (jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, claims) == 0
		    && jwt_set_alg(jwt, JWT_ALG_HS256, secret, (int)length) == 0)
			token = jwt_encode_str(jwt);
		if (token != NULL)
			printf("{\"library\": \"libjwt\", \"version\": \"%s\", \"language\": \"C\", \"case\": \"%s\", \"token\": \"%s\"}\n",
			       LIBJWT_VERSION, name, token);
		else
			fprintf(stderr, "libjwt will not make %s\n", name);
		free(token);
		jwt_free(jwt);
		free(claims);
	}
	json_decref(cases);
	return 0;
}
