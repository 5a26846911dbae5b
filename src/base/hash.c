#include "hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

struct reap_hash {
  EVP_MD_CTX *context;
};

int reap_hash_create(reap_hash **out) {
  reap_hash *hash = NULL;
  REAP_TRY(reap_alloc(&hash, 1, sizeof *hash));
  hash->context = EVP_MD_CTX_new();
  if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
    reap_hash_destroy(&hash);
    return reap_error(REAP_ERR_RESOURCE, "libcrypto could not start SHA-256");
  }
  *out = hash;
  return REAP_OK;
}

int reap_hash_add(reap_hash *hash, const void *data, size_t bytes) {
  if (EVP_DigestUpdate(hash->context, data, bytes) != 1) return reap_error(REAP_ERR_INTERNAL, "SHA-256 failed");
  return REAP_OK;
}

int reap_hash_finish(reap_hash **hash, char digest[REAP_HASH_LENGTH]) {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  int done = EVP_DigestFinal_ex((*hash)->context, raw, &length);
  reap_hash_destroy(hash);
  if (done != 1 || length != 32) return reap_error(REAP_ERR_INTERNAL, "SHA-256 failed");
  for (unsigned int i = 0; i < length; i++) snprintf(digest + 2 * i, 3, "%02x", raw[i]);
  return REAP_OK;
}

void reap_hash_destroy(reap_hash **hash) {
  if (!*hash) return;
  EVP_MD_CTX_free((*hash)->context);
  reap_free(hash);
}

int reap_hash_file(const char *path, char digest[REAP_HASH_LENGTH]) {
  FILE *file = fopen(path, "rb");
  if (!file) return reap_error_system("%s", path);
  reap_hash *hash = NULL;
  unsigned char *buffer = NULL;
  const size_t chunk = 1 << 20;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&buffer, (int64_t)chunk, 1), done);
  REAP_TRY_OR(reap_hash_create(&hash), done);
  for (size_t n; (n = fread(buffer, 1, chunk, file)) > 0;) REAP_TRY_OR(reap_hash_add(hash, buffer, n), done);
  if (ferror(file)) {
    status = reap_error_system("%s: cannot be read", path);
    goto done;
  }
  status = reap_hash_finish(&hash, digest);
done:
  reap_hash_destroy(&hash);
  reap_free(&buffer);
  fclose(file);
  return status;
}
