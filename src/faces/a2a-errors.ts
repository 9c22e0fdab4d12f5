/** A2A's own errors, besides those of JSON-RPC. */
export const A2A_ERRORS = {
  taskNotFound: -32001,
  notCancelable: -32002,
  pushNotifications: -32003,
  unsupported: -32004,
  contentType: -32005,
  version: -32009,
} as const;
