variable "name" {
  description = "Name of everything that is made here; one federation each."
  type        = string
  default     = "isthmus"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "2 to 31 of a-z, 0-9 and -, beginning with a letter."
  }
}

variable "federation" {
  description = "The federation's name, such as acme.mesh; it cannot be changed later."
  type        = string
}

variable "admin_token_sha256" {
  description = "SHA-256 of the first operator's token, in hexadecimal. The token itself is not needed here."
  type        = string
  sensitive   = true
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.admin_token_sha256))
    error_message = "64 hexadecimal digits: printf %s \"$(cat admin.token)\" | sha256sum"
  }
}

variable "package" {
  description = "The function's code: a zip file with lambda.mjs in it."
  type        = string
  default     = "../../dist/lambda.zip"
}

variable "runtime" {
  description = "Lambda's name of its Node.js, 24 or newer."
  type        = string
  default     = "nodejs24.x"
}

variable "memory_mb" {
  description = "Memory, and with it the share of a processor. 512 MB hold a federation of a hundred thousand objects."
  type        = number
  default     = 512
}

variable "max_instances" {
  description = "Instances of the function at once; -1: as many as the account has. Ten serve a thousand clusters."
  type        = number
  default     = -1
}

variable "alarm_topics" {
  description = "ARNs of SNS topics that are told of alarms."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  type    = number
  default = 30
}

variable "deletion_protection" {
  description = "Of the table. Take it off in a change of its own before the federation is destroyed."
  type        = bool
  default     = true
}
